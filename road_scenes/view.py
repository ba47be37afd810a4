"""The camera and the shape of the road: from metres on the road to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]

NEAREST = 0.8  # metres; points behind it are pulled onto it
FARTHEST = 900.0


@dataclass(frozen=True)
class View:
    """A pinhole camera above a road that bends and climbs.

    Road coordinates are (s, y, z) in metres: s to the right of the road's centre line, y above the
    ground, z ahead of the camera. World coordinates (X right, Y up, Z ahead) have their origin on
    the ground under the camera. The optical axis is horizontal, so an object of size L at depth z
    covers ``focal * L / z`` pixels.

    Attributes:
        height: Rows of the picture.
        width: Columns of the picture.
        focal: Focal length in pixels.
        horizon: Row of the horizon of flat ground.
        camera_height: Metres above the ground.
        offset: The camera's own s.
        heading: Slope of the centre line under the camera, dX/dZ.
        curvature: Second derivative of the centre line in 1/m.
        hill: Metres the road climbs (negative: falls) between ``hill_start`` and
            ``hill_start + hill_length``.
        hill_start: Depth at which the climb starts.
        hill_length: Length of the climb.
    """

    height: int
    width: int
    focal: float
    horizon: float
    camera_height: float = 1.5
    offset: float = 0.0
    heading: float = 0.0
    curvature: float = 0.0
    hill: float = 0.0
    hill_start: float = 20.0
    hill_length: float = 80.0

    def scale(self, z: float) -> float:
        """Pixels per metre at depth z."""
        return self.focal / max(z, NEAREST)

    def bend(self, z: ArrayLike) -> FloatArray:
        """World X of the line s = offset at depth z."""
        z = np.minimum(np.asarray(z, np.float64), 160.0)
        return z * (self.heading + 0.5 * self.curvature * z)

    def yaw(self, z: float) -> float:
        """Direction of the road at depth z in radians, positive to the right."""
        return float(np.arctan(self.heading + self.curvature * z))

    def elevation(self, z: ArrayLike) -> FloatArray:
        """World Y of the ground at depth z."""
        t = (np.asarray(z, np.float64) - self.hill_start) / self.hill_length
        t = np.minimum(np.maximum(t, 0.0), 1.0)
        return self.hill * t * t * (3 - 2 * t)

    def project(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> FloatArray:
        """World coordinates to pixels of shape (N, 2), (column, row), centres at integers."""
        scale = self.focal / np.maximum(np.asarray(z, np.float64), NEAREST)
        u = self.width / 2 + np.asarray(x, np.float64) * scale
        v = self.horizon + (self.camera_height - np.asarray(y, np.float64)) * scale
        pixels = np.empty((max(u.size, v.size), 2))
        pixels[:, 0], pixels[:, 1] = u, v
        return pixels

    def road(self, s: ArrayLike, y: ArrayLike, z: ArrayLike) -> FloatArray:
        """Road coordinates, which may broadcast, to pixels of shape (N, 2)."""
        s, y, z = (np.asarray(a, np.float64) for a in (s, y, z))
        return self.project(s - self.offset + self.bend(z), y + self.elevation(z), z)

    def place(self, points: ArrayLike, s: float, z: float, yaw: float = 0.0) -> FloatArray:
        """Pixels (N, 2) of points (N, 3) = (right, up, ahead) of an object standing at (s, z).

        ``yaw`` is relative to the direction of the road; positive turns to the right.
        """
        return self.project(*self.place_world(points, s, z, yaw).T)

    def place_world(self, points: ArrayLike, s: float, z: float, yaw: float = 0.0) -> FloatArray:
        """World coordinates (N, 3) of an object's own points, see :meth:`place`."""
        p = np.asarray(points, np.float64).reshape(-1, 3)
        angle = yaw + self.yaw(z)
        cos, sin = np.cos(angle), np.sin(angle)
        world = np.empty_like(p)
        world[:, 0] = s - self.offset + self.bend(z) + p[:, 0] * cos + p[:, 2] * sin
        world[:, 1] = p[:, 1] + self.elevation(z)
        world[:, 2] = z - p[:, 0] * sin + p[:, 2] * cos
        return world

    @cached_property
    def _profile(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        z = np.geomspace(NEAREST, FARTHEST, 3000)
        rows = self.horizon + self.focal * (self.camera_height - self.elevation(z)) / z
        return z, rows, np.minimum.accumulate(rows)

    def shows(self, s: float, z: float, reach: float) -> bool:
        """Whether something within ``reach`` metres of (s, z) can be in the picture."""
        x = s - self.offset + float(self.bend(z))
        return abs(x) - reach < 0.5 * self.width / self.focal * (z + reach)

    def sees_ground(self, z: float) -> bool:
        """Whether the ground at depth z is not hidden behind a crest."""
        depths, rows, nearer = self._profile
        i = min(int(np.searchsorted(depths, z)), len(depths) - 1)
        return bool(rows[i] <= nearer[i] + 1e-3 * self.focal)

    def ground_rows(self) -> tuple[int, FloatArray]:
        """First row that shows ground, and the depth of the ground in it and every row below."""
        depths, _, nearer = self._profile
        top = max(int(np.ceil(nearer[-1])), 0)
        keep = np.r_[True, np.diff(nearer) < -1e-9]
        rows = np.arange(top, self.height)
        return top, np.interp(-rows, -nearer[keep], depths[keep])
