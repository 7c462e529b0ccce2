from apps.processing.contract import Job, Outcome, ProcessingFailed

CONTENT_TYPE = "model/x-points"


def recognises(head: bytes) -> bool:
    return head.startswith(b"points\n")


def process(job: Job) -> Outcome:
    lines = job.path.read_text().splitlines()[1:]
    try:
        points = [tuple(map(float, line.split())) for line in lines]
    except ValueError as error:
        raise ProcessingFailed("points_broken", "A line is no point.") from error
    return Outcome(result={"points": len(points)})
