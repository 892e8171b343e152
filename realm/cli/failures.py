"""Failures of the machine (full disk, no permission) told apart from failures of the program."""

import errno

#: What C++ and Rust leave of ENOSPC: safetensors keeps the text of the error, torch only says where it gave up.
_FULL_DISK_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "basic_ios::clear: iostream error",
    ". unexpected pos ",
)
_FULL_DISK_CODES = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN_CODES = (errno.EACCES, errno.EPERM, errno.EROFS)


def resource_message(error: BaseException) -> str | None:
    """The lines for the user where the machine is at fault for `error` or for what caused it; None where it is not."""
    seen: BaseException | None = error
    while seen is not None:
        code, reason, file = (
            (seen.errno, seen.strerror, seen.filename) if isinstance(seen, OSError) else (None, "", None)
        )
        place = f": {file}" if file else ""
        if code in _FULL_DISK_CODES or any(text in str(seen) for text in _FULL_DISK_TEXTS):
            return (
                f"the disk is full{place}.\n"
                "Free some space, or write elsewhere (--out, --set run.dir=DIR); a stopped run goes on with --resume."
            )
        if code == errno.EFBIG or "File too large" in str(seen):
            return (
                f"a file may not grow as large as it must{place} (ulimit -f, or the file system's limit).\n"
                "Raise that limit, or write elsewhere (--out, --set run.dir=DIR); a stopped run goes on with --resume."
            )
        if code == errno.ENAMETOOLONG:
            return f"the name is too long{place[:80]}… ({reason}); choose a shorter one."
        if code in _FORBIDDEN_CODES and place:
            return f"no permission{place} ({reason}).\nChoose another place: --out, --set run.dir=DIR."
        seen = seen.__cause__ or seen.__context__
    return None
