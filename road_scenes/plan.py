"""The street in plan: lanes, kerbs, sidewalks, and what lines it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .view import View

FAR = 130.0  # metres; the street is furnished up to here

# Chance that a scene is given a clearly visible member of a rare class.
WANTED = {
    'bus': 0.45,
    'truck': 0.45,
    'train': 0.45,
    'motorcycle': 0.65,
    'bicycle': 0.55,
    'rider': 0.65,
    'wall': 0.5,
    'fence': 0.5,
    'terrain': 0.6,
    'lights': 0.55,
}


@dataclass(frozen=True)
class Segment:
    """A stretch of one side of the street; kind: building, wall, fence, hedge, park or street."""

    kind: str
    z0: float
    z1: float


@dataclass(frozen=True)
class Side:
    """One side of the street; distances in metres from the centre line.

    Attributes:
        sign: -1 left, 1 right.
        kerb: Where the road ends.
        verge: Width of the grass between kerb and sidewalk, 0 for none.
        walk: Width of the sidewalk.
        parking: Whether cars are parked along the kerb.
        segments: What lines the sidewalk, near to far.
    """

    sign: int
    kerb: float
    verge: float
    walk: float
    parking: bool
    segments: tuple[Segment, ...]

    @property
    def path(self) -> float:
        """Inner edge of the sidewalk."""
        return self.kerb + self.verge

    @property
    def edge(self) -> float:
        """Outer edge of the sidewalk."""
        return self.path + self.walk


@dataclass(frozen=True)
class Plan:
    """A street.

    Attributes:
        sides: Left and right.
        lanes: Lanes per direction.
        lane_width: In metres.
        median: Half the width of the strip between the directions.
        bed: What the median is made of: 'road', 'terrain' or '' for none.
        tracks: s of each tram track.
        street: Depths between which another street crosses, or None.
        railing: Whether a railing stands on the right kerb.
        zebras: Depths at which zebra crossings begin.
        wanted: The rare classes that this scene must show.
    """

    sides: tuple[Side, Side]
    lanes: int
    lane_width: float
    median: float
    bed: str
    tracks: tuple[float, ...]
    street: tuple[float, float] | None
    railing: bool
    zebras: tuple[float, ...]
    wanted: frozenset[str] = field(default_factory=frozenset)

    def crosses(self, z: float, margin: float) -> bool:
        """Whether depth z lies on the other street, or within a margin of it."""
        return bool(self.street and self.street[0] - margin < z < self.street[1] + margin)

    def lane_centres(self) -> list[tuple[float, int]]:
        """(s, direction) of each lane; direction 1 is ours, -1 comes towards us."""
        middles = [self.median + self.lane_width * (i + 0.5) for i in range(self.lanes)]
        return [(s * side, side) for side in (1, -1) for s in middles]


def _segments(
    rng: np.random.Generator,
    forced: list[str],
    weights: dict[str, float],
    street: tuple[float, float] | None,
) -> tuple[Segment, ...]:
    kinds = list(weights)
    p = np.array([weights[k] for k in kinds])
    out: list[Segment] = []
    z = 4.0
    while z < FAR:
        end = z + rng.uniform(10, 26)
        kind = kinds[int(rng.choice(len(kinds), p=p / p.sum()))]
        # What must be seen goes where the picture's edge meets the side of the street.
        if end > 14 and forced:
            kind = forced.pop()
            end = max(end, z + 14)
        if street and z < street[1] and end > street[0]:
            if street[0] - z > 4:
                out.append(Segment(kind, z, street[0]))
            out.append(Segment('street', *street))
            end = street[1]
        else:
            out.append(Segment(kind, z, end))
        z = end
    return tuple(out)


def sample_plan(rng: np.random.Generator) -> Plan:
    """Draw a street."""
    wanted = frozenset(name for name, chance in WANTED.items() if rng.random() < chance)
    style = rng.choice(['city', 'suburb', 'green'], p=[0.5, 0.3, 0.2])
    weights = {
        'city': {'building': 8.0, 'wall': 0.7, 'fence': 0.7, 'hedge': 0.4, 'park': 0.7},
        'suburb': {'building': 3.0, 'wall': 1.5, 'fence': 2.0, 'hedge': 1.5, 'park': 1.5},
        'green': {'building': 1.0, 'wall': 0.7, 'fence': 1.0, 'hedge': 1.5, 'park': 4.0},
    }[str(style)]
    tram = 'train' in wanted or rng.random() < 0.12
    lanes = int(rng.choice([1, 2], p=[0.85, 0.15] if tram else [0.6, 0.4]))
    lane_width = rng.uniform(3.0, 3.5)
    median, bed = 0.0, ''
    tracks: tuple[float, ...] = ()
    if tram:
        median = rng.uniform(3.0, 3.4)
        bed = str(rng.choice(['road', 'terrain']))
        tracks = (-1.6, 1.6)
    elif rng.random() < 0.15:
        median, bed = rng.uniform(0.6, 1.3), 'terrain'
    street = None
    if rng.random() < 0.4:
        z0 = rng.uniform(16, 50)
        street = (z0, z0 + rng.uniform(8, 13))
    zebras = []
    if street and rng.random() < 0.75:
        zebras.append(street[0] - 4.5)
    elif rng.random() < 0.35:
        zebras.append(rng.uniform(7, 35))
    forced: tuple[list[str], list[str]] = ([], [])
    railing = 'fence' in wanted and rng.random() < 0.5
    for kind, needed in (
        ('wall', 'wall' in wanted),
        ('fence', 'fence' in wanted and not railing),
        ('park', 'terrain' in wanted),
    ):
        if needed:  # the right side is nearer to the camera
            forced[int(rng.random() < 0.7)].append(kind)
    sides = []
    for i, sign in enumerate((-1, 1)):
        parking = bool(rng.random() < (0.5 if style != 'green' else 0.2))
        rng.shuffle(forced[i])
        sides.append(
            Side(
                sign=sign,
                kerb=median + lanes * lane_width + 0.4 + (2.1 if parking else 0.0),
                verge=float(rng.uniform(1.0, 2.0)) if rng.random() < 0.35 else 0.0,
                walk=float(rng.uniform(2.0, 4.2)),
                parking=parking,
                segments=_segments(rng, forced[i], weights, street),
            )
        )
    return Plan(
        sides=(sides[0], sides[1]),
        lanes=lanes,
        lane_width=float(lane_width),
        median=float(median),
        bed=bed,
        tracks=tracks,
        street=street,
        railing=railing,
        zebras=tuple(zebras),
        wanted=wanted,
    )


def sample_view(rng: np.random.Generator, plan: Plan, size: tuple[int, int]) -> View:
    """Draw a camera in one of our lanes, and the bends and slopes of the road ahead."""
    height, width = size
    lane = int(rng.integers(plan.lanes))
    straight = rng.random() < 0.4
    hilly = rng.random() < 0.35
    return View(
        height=height,
        width=width,
        focal=width * rng.uniform(0.88, 1.08),
        horizon=height * rng.uniform(0.40, 0.48),
        camera_height=rng.uniform(1.3, 1.75),
        offset=plan.median + plan.lane_width * (lane + 0.5) + rng.normal(0, 0.25),
        heading=rng.normal(0, 0.025),
        curvature=0.0 if straight else rng.normal(0, 1 / 280),
        hill=rng.uniform(-2.5, 3.0) if hilly else 0.0,
        hill_start=rng.uniform(12, 40),
        hill_length=rng.uniform(50, 110),
    )
