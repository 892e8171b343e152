"""Which part of a model's text speaks to the reader: behind the thinking, before a leaked end mark.

Drafts in the thinking are no answers, and what stands behind the end of a turn belongs to another one.
"""

import re

_NAMES = (
    r"(?:[a-z]{1,10}[:|]|longcat_)?"
    r"(?:think(?:ing)?(?:_fast(?:er)?|:[a-z]{1,12})?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis"
    r"|inner_monologue|details)"
)
_THOUGHT = re.compile(
    rf"(?P<end></\s?(?:{_NAMES}|end_working_out)\s{{0,4}}>|<end_working_out>|◁/think▷|\[/THINK\]"
    r"|<\|/?(?:end_of_thought|end_think(?:ing)?|/think(?:ing)?)\|>|</\|think\|>|<｜end▁of▁think(?:ing)?｜>"
    r"|<\|START_RESPONSE\|>|<\|inner_suffix\|>|<channel\|>|<\|begin_of_solution\|>)"
    rf"|<\s?(?:{_NAMES}|start_working_out)\s{{0,4}}>|◁think▷|\[THINK\]"
    r"|<\|(?:begin_of_thought|start_think(?:ing)?|think(?:ing)?|inner_prefix)\|>|<\|channel>thought"
    r"|<｜begin▁of▁think(?:ing)?｜>",
    re.IGNORECASE,
)
# gpt-oss' channels, with their special tokens and without.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s{0,4}final[^<\n]{0,40}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
_CHANNEL = re.compile(r"\s{0,8}(?:<\|start\|>assistant)?<\|channel\|>")
_CHANNEL_MARK = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>\w{0,20}|<\|message\|>|<\|end\|>")
_BARE_CHANNELS = re.compile(r"\s{0,8}(?:assistant)?analysis(?=[A-Z\W])")
_BARE_FINAL = re.compile(r"assistantfinal\b|assistantfinal(?=[A-Z\d\W])|assistant\s?final\s?(?=\n)")
# What closes a turn, or opens the next one, in the usual chat templates.
_END = re.compile(
    r"<\|(?:im_end|im_start|im_sep|eot_id|eom_id|end_of_text|endoftext|end_of_turn|endofturn|end_of_role|return|end|eos|eot"
    r"|start_header_id|start_of_role|user|observation|endofprompt|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN|endofmessage"
    r"|end_of_message|end_of_sentence|message_end|assistant_end|call|diff_marker)\|>"
    r"|<｜(?:end▁of▁sentence|User|Assistant|begin▁of▁sentence)｜>|</s>|<eos>|<end_of_turn>|<start_of_turn>|\[/?INST\]"
    r"|<\|END\|>|\[EOS\]|\[\|endofturn\|\]|<\[end▁of▁sentence\]>|<\|endofsystem\|>"
    r"|<\|EOT\|>|\[end of text\]|<pad>|<eod>|<end_of_utterance>|<EOS>|<\|END_RESPONSE\|>|<\|end_of_solution\|>"
    r"|<\|im_end|<｜end｜>|<\|eou\|>|<turn\|>|<\|turn>|<\|ifm\|im_(?:end|start)\|>"
    r"|<｜hy_(?:eos|User)(?::[a-z]{1,12})?｜>"
    r"|</?s>(?=\s*(?:<s>|\[INST\]|$))"
)
_TURN_HEAD = re.compile(
    r"\s{0,8}(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>|<｜Assistant｜>"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|im_start\|>assistant|<start_of_turn>model|<\|assistant\|>"
    r"|<\|start\|>assistant(?!<\|channel))"
)
_NO_TURN = re.compile(r"\s*(?:user|assistant|system|model|tool)?(?:<\|end_header_id\|>|<\|end_of_role\|>|\s)*")


def without_run_on(text: str) -> tuple[str, bool]:
    """The text up to the first leaked end mark of a chat template, and whether anything but marks stood behind it.

    What comes behind is a run-on: the model went on with another turn, whose answer is not the question's.
    """
    start = 0
    while head := _TURN_HEAD.match(text, start):
        start = head.end()
    final = _FINAL_CHANNEL.search(text, start)
    end = _END.search(text, final.end() if final else start)
    if end is None or (final is None and _CHANNEL.match(text, start) and "final" in text[end.end() : end.end() + 60]):
        return text[start:], False
    return text[start : end.start()], not _NO_TURN.fullmatch(_END.sub("", text[end.end() :]))


def spoken(text: str) -> tuple[str, bool]:
    """The part of a text in which an answer is to be looked for, and whether it is spoken: not so where a thought was
    never ended, or nothing stands outside of it."""
    said, thought = halves(text)
    return (said, True) if said.strip() or not thought else (thought, False)


def halves(text: str) -> tuple[str, str]:
    """What a text says and what it thinks before, each without tags; a text without thinking is all said."""
    text, _ = without_run_on(text)
    final = _FINAL_CHANNEL.search(text)
    if final:
        return text[final.end() :], _CHANNEL_MARK.sub(" ", text[: final.start()])
    if _BARE_CHANNELS.match(text):
        finals = [*_BARE_FINAL.finditer(text)]
        return (text[finals[-1].end() :], text[: finals[-1].start()]) if finals else ("", text)
    if _CHANNEL.match(text):
        return "", _CHANNEL_MARK.sub(" ", text)
    said: list[str] = []
    thought: list[str] = []
    position = depth = 0
    for mark in _THOUGHT.finditer(text):
        piece, position = text[position : mark.start()], mark.end()
        ends = mark["end"] is not None
        if ends and not depth:
            # Templates open a thought themselves: an end without a beginning ends one that began with the text.
            thought += [*said, piece]
            said = []
        else:
            (thought if depth else said).append(piece)
        depth = max(0, depth - 1) if ends else depth + 1
    (thought if depth else said).append(text[position:])
    return "".join(said), "".join(thought)
