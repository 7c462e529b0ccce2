from apps.processing.contract import Job, Outcome, ProcessingFailed

CONTENT_TYPE = "model/x-points"
MAX_BYTES = 16 * 1024 * 1024


def recognises(head: bytes) -> bool:
    return head.startswith(b"points\n")


def process(job: Job) -> Outcome:
    if job.size > MAX_BYTES:
        raise ProcessingFailed("points_too_large", "The file has more points than are read.")
    try:
        lines = job.path.read_text(encoding="utf-8").splitlines()[1:]
        points = [tuple(map(float, line.split())) for line in lines]
    except UnicodeDecodeError as error:
        raise ProcessingFailed("points_broken", "The file is not UTF-8.") from error
    except ValueError as error:
        raise ProcessingFailed("points_broken", "A line is no point.") from error
    return Outcome(result={"points": len(points)})
