"""The tiny task with an easy and a hard kind of question, three to one."""

from dataclasses import replace

from tests.tiny import TinyTask


class TwoKinds(TinyTask):
    """`TinyTask` whose questions of kind `hard` have a gold that no completion can give."""

    def __init__(self, train: int = 12) -> None:
        super().__init__(train)
        for split, rows in self._rows.items():
            self._rows[split] = [
                replace(question, kind="easy", difficulty=number % 2)
                if number % 4
                else replace(question, kind="hard", difficulty=2, answer="7")
                for number, question in enumerate(rows)
            ]
