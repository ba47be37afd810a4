"""The sky, and what the air and the camera do to the picture."""

from __future__ import annotations

import cv2
import numpy as np

from . import texture
from .canvas import Canvas
from .labels import IGNORE, Id
from .light import as_array


def draw_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint the whole canvas with a gradient and clouds in perspective."""
    view, light = canvas.view, canvas.light
    v = np.arange(view.height, dtype=np.float32)[:, None]
    u = np.arange(view.width, dtype=np.float32)[None]
    up = np.maximum(view.horizon - v, 0) / view.focal  # tangent of the elevation
    right = (u - view.width / 2) / view.focal
    blend = np.clip(up / 0.5, 0, 1)[..., None] ** 0.6
    sky = as_array(light.rim) * (1 - blend) + as_array(light.zenith) * blend
    sky = np.broadcast_to(sky, (view.height, view.width, 3)).copy()
    # A layer of clouds at constant height: distance grows as 1 / tangent.
    distance = 1 / (up + 0.12)
    x, y = rng.uniform(0, texture.TILE, 2)
    cloud = texture.sample(texture.fractal(1.6), right * distance * 42 + x, distance * 42 + y)
    threshold = 1.5 - 2.6 * light.clouds
    cover = np.clip((cloud - threshold) * 1.4, 0, 1) * np.clip(up / 0.06, 0.15, 1) * 0.95
    # Thick clouds are grey below; their rims are bright.
    body = np.clip(1.06 - 0.16 * np.clip(cloud - threshold, 0, 2.2), 0, 1.06)
    white = as_array(light.rim) * 0.35 + as_array((250, 248, 246)) * 0.65
    if light.lamps:
        white = as_array(light.rim) * 0.9
    sky += cover[..., None] * (body[..., None] * white - sky)
    if light.direct:  # brighter around the sun
        cosine = (right * light.sun[0] + up * light.sun[1] + light.sun[2]) / np.hypot(
            np.hypot(right, up), 1
        )
        sky *= 1 + 0.35 * (np.maximum(cosine, 0) ** 24)[..., None]
    canvas.image[:] = np.clip(sky, 0, 255)
    canvas.label[:] = Id.SKY


def draw_bonnet(canvas: Canvas, rng: np.random.Generator) -> None:
    """Cover the bottom of the picture with our own car, as Cityscapes' pictures show it."""
    view = canvas.view
    if rng.random() < 0.15:
        return
    height = rng.uniform(0.03, 0.085) * view.height
    bulge = rng.uniform(0.01, 0.04) * view.height
    tone = rng.uniform(18, 70)
    t = np.linspace(-1, 1, 25)
    u = view.width / 2 + t * view.width * 0.52
    edge = view.height - height - bulge * (1 - t**2)
    corners = [[view.width * 1.02, view.height + 2], [-view.width * 0.02, view.height + 2]]
    canvas.fill(np.r_[np.stack([u, edge], 1), corners], (tone,) * 3, IGNORE, 1.0)
    shine = np.r_[
        np.stack([u, edge + 0.15 * height], 1), np.stack([u, edge + 0.4 * height], 1)[::-1]
    ]
    canvas.fill(shine, (tone * 1.5 + 26,) * 3)


def finish(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Texture, haze, colour of the light, glow, lens, sensor and compression.

    Returns:
        The finished picture (H, W, 3), BGR uint8.
    """
    view, light = canvas.view, canvas.light
    image = canvas.image.astype(np.float32)
    grain = np.full(256, 0.025, np.float32)
    grain[[Id.ROAD, Id.SIDEWALK, Id.TERRAIN, Id.SKY, IGNORE]] = 0
    grain[[Id.BUILDING, Id.WALL, Id.VEGETATION]] = 0.035, 0.06, 0.10
    v, u = np.mgrid[: view.height, : view.width].astype(np.float32)
    # The texture belongs to the things: it shrinks with a picture's width, not with its pixels.
    step = 512 / view.width
    ox, oy = rng.uniform(0, texture.TILE, 2)
    noise = texture.sample(texture.fractal(0.7), u * step + ox, v * step + oy)
    clear = np.exp(-light.haze * canvas.depth)
    image *= (1 + grain[canvas.label.astype(np.uint8)] * noise * clear)[..., None]
    image += (1 - clear)[..., None] * (as_array(light.rim) - image)
    image *= as_array(light.gain)
    grey = image.mean(2, keepdims=True)
    image = 118 + 1.14 * (grey + 1.08 * (image - grey) - 110)
    radius = ((u / view.width - 0.5) ** 2 + (v / view.height - 0.5) ** 2)[..., None]
    image *= 1 - rng.uniform(0.05, 0.35) * radius
    if canvas.glows:
        glow = np.zeros_like(canvas.image)
        shining = Canvas(view, light)
        shining.image = glow
        for centre, size, colour, depth in canvas.glows:
            u0, v0 = np.rint(centre).astype(int)
            inside = 0 <= u0 < view.width and 0 <= v0 < view.height
            if inside and not 0 < canvas.depth[v0, u0] < depth - 0.05:
                shining.disc(centre, size, colour)
        halo = cv2.GaussianBlur(glow, (0, 0), 2.5 * view.width / 512).astype(np.float32)
        image = np.maximum(image, glow) + halo * (0.8 if light.lamps else 0.25)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.65))
    luminance = rng.standard_normal(image.shape[:2], np.float32)[..., None]
    chroma = rng.standard_normal(image.shape, np.float32)
    image += rng.uniform(0.8, 3.0) * luminance + rng.uniform(0.3, 1.5) * chroma
    image = np.clip(image, 0, 255).astype(np.uint8)
    quality = int(rng.integers(70, 97))
    _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    compressed = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert compressed is not None
    return compressed
