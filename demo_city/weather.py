"""What fog, night, rain and snow do to a painted street, from its depth, labels and lights.

Colours are float32 BGR from 0 to 255 in here; depth is metres
along Z. Labels never change.
"""

from collections.abc import Callable

import cv2
import numpy as np

from demo_city.canvas import FAR, Canvas
from demo_city.classes import BUILDING, GROUND, ROAD, SKY, VEGETATION, VOID
from demo_city.noise import fractal_noise, ground_noise, white_noise
from demo_city.scene import Scene

# How rough surfaces of a class look in plain daylight: share of brightness that varies
_GRAIN = {ROAD: 0.1, VEGETATION: 0.16, BUILDING: 0.09, SKY: 0.015}
_OTHER_GRAIN = 0.05


def render(scene: Scene, rng: np.random.Generator, condition: str) -> np.ndarray:
    """The scene's picture in a condition.

    Args:
        scene: As :func:`paint_scene` left it; not changed.
        rng: Decides strength and details of the weather.
        condition: One of ``CONDITIONS``.

    Returns:
        (height, width, 3) float32 BGR in 0..255.
    """
    return np.clip(_RENDERERS[condition](scene, rng), 0, 255)


def render_clear(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Daylight: surface grain, the sun's warmth, a breath of haze."""
    canvas = scene.canvas
    picture = _textured(canvas, rng)
    tint = np.array([1.0, 1.0, 1.0], np.float32) + rng.uniform(-0.05, 0.05) * np.array([-1, 0, 1], np.float32)
    picture *= tint * np.float32(rng.uniform(0.86, 1.1))
    picture = _airlight(canvas, picture, density=rng.uniform(0.0008, 0.0025), light=(232, 226, 216))
    return _vignette(picture) + white_noise(rng, picture.shape, 2.0)


def render_fog(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Koschmieder's law: the farther, the more the grey of the air stands in for the colour."""
    canvas = scene.canvas
    picture = _desaturated(_textured(canvas, rng), 0.45)
    drift = fractal_noise(rng, canvas.height, canvas.width, cells=3, octaves=3, stretch=2.5)
    density = rng.uniform(0.026, 0.055) * (0.8 + 0.4 * drift)
    grey = rng.uniform(176, 212)
    picture = _airlight(canvas, picture * 0.9, density=density, light=(grey + 4, grey, grey - 5))
    return cv2.GaussianBlur(picture, (0, 0), canvas.height / 640) + white_noise(rng, picture.shape, 2.0)


def render_night(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Dark blue surroundings, warm lamps, one's own headlights, lit windows with halos, sensor noise."""
    canvas = scene.canvas
    surface = _textured(canvas, rng) / 255
    depth, x, y = _world(canvas)
    light = np.empty_like(surface)
    light[:] = np.array([0.13, 0.1, 0.085], np.float32) * np.float32(rng.uniform(0.7, 1.3))
    warm = np.array([0.36, 0.72, 1.0], np.float32)
    for lamp_x, lamp_y, lamp_z in scene.lamps:
        squared = (x - lamp_x) ** 2 + (0.55 * (y - lamp_y)) ** 2 + (depth - lamp_z) ** 2
        light += (11.0 / (squared + 9.0))[..., None] * warm
    # Low beam: a wide pool on the road, cut off just below the horizon
    beam = np.exp(-((x / (0.22 * depth + 1.2)) ** 2)) * np.exp(-depth / 17) * 0.85
    beam *= 1 / (1 + np.exp(np.clip((y - 1.1) * 4, -30, 30)))
    light += beam[..., None] * np.array([0.82, 0.95, 1.0], np.float32)
    sky = (canvas.label == SKY)[..., None]
    glow_of_town = (
        np.clip(np.arange(canvas.height, dtype=np.float32) / canvas.centre_v, 0, 1)[:, None, None] ** 2
    )
    night_sky = np.array([26, 17, 13], np.float32) + glow_of_town * np.array([26, 34, 44], np.float32)
    picture = np.where(sky, night_sky, 255 * surface * light)
    picture = picture + _halos(canvas, strength=1.0)
    picture = picture + _halos_of_lamps(scene)
    noise = white_noise(rng, picture.shape, 1)
    return picture + noise * (3.5 + 0.35 * np.sqrt(np.maximum(picture, 0)))


def render_rain(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A grey sky, a wet road that mirrors what stands on it, streaks in the air and drops on the lens."""
    canvas = scene.canvas
    picture = _desaturated(_textured(canvas, rng), 0.55) * np.float32(rng.uniform(0.56, 0.7))
    _cover_sky(canvas, picture, rng, (158, 152, 148))
    picture += _halos(canvas, strength=0.55)
    picture = _wet_ground(canvas, picture, rng)
    picture = _airlight(canvas, picture, density=rng.uniform(0.008, 0.014), light=(152, 148, 144))
    picture = _streaks(picture, rng)
    return _drops(picture, rng) + white_noise(rng, picture.shape, 2.5)


def render_snow(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Snow on the ground (wheel tracks on the road), on roofs and branches, and in the air."""
    canvas = scene.canvas
    picture = _desaturated(_textured(canvas, rng), 0.35) * np.float32(0.85)
    _cover_sky(canvas, picture, rng, (214, 210, 206))
    depth, x, _ = _world(canvas)
    cover = np.zeros(depth.shape, np.float32)
    patches = ground_noise(rng, x, depth, metres=6.0)
    land = np.isin(canvas.label, GROUND) & (canvas.label != ROAD)
    cover[land] = 0.82 + 0.16 * patches[land]
    road = canvas.label == ROAD
    tracks = np.abs(np.mod(np.abs(x), 1.75) - 0.9) < 0.34
    cover[road] = np.where(tracks[road], 0.2 + 0.3 * patches[road], 0.55 + 0.4 * patches[road])
    # On plants and roofs it lies where the surface looks up: approximated by light spots of fine noise
    fine = fractal_noise(rng, canvas.height, canvas.width, cells=64, octaves=3)
    plants = canvas.label == VEGETATION
    cover[plants] = np.clip((fine[plants] - 0.4) * 3.2, 0, 0.85)
    cover[_tops(canvas)] = 0.9
    white = np.array([246, 240, 236], np.float32) * (0.9 + 0.1 * fine[..., None])
    picture += (white - picture) * cover[..., None]
    picture = _airlight(canvas, picture, density=rng.uniform(0.01, 0.018), light=(220, 216, 212))
    return _flakes(picture, rng) + white_noise(rng, picture.shape, 2.0)


_RENDERERS: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    'clear': render_clear,
    'fog': render_fog,
    'night': render_night,
    'rain': render_rain,
    'snow': render_snow,
}
CONDITIONS = tuple(_RENDERERS)


def _world(canvas: Canvas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z, X and Y (metres) of what every pixel shows."""
    return (
        canvas.depth,
        canvas.ray_x[None, :] * canvas.depth,
        canvas.eye + canvas.ray_y[:, None] * canvas.depth,
    )


def _textured(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """The flat colours with grain: coarse stains and fine roughness, on the ground in perspective."""
    coarse = fractal_noise(rng, canvas.height, canvas.width, cells=10, octaves=5) - 0.5
    fine = white_noise(rng, (canvas.height, canvas.width), 0.35)
    depth, x, _ = _world(canvas)
    ground = np.isin(canvas.label, GROUND)
    stains = ground_noise(rng, x, depth, metres=4.0) - 0.5
    pattern = np.where(ground, stains * 1.6, coarse) + fine * 0.5
    amount = np.full(256, _OTHER_GRAIN, np.float32)
    for label, share in _GRAIN.items():
        amount[label] = share
    return canvas.colour * (1 + 2 * amount[canvas.label] * pattern)[..., None]


def _airlight(
    canvas: Canvas, picture: np.ndarray, *, density: float | np.ndarray, light: tuple
) -> np.ndarray:
    """Mixes in the light of the air, by depth; ``density`` per metre."""
    distance = np.minimum(canvas.depth, FAR)
    # The bonnet carries the camera: no air in between.
    distance = np.where(canvas.label == VOID, np.minimum(distance, 30), distance)
    clear = np.exp(-density * distance)[..., None].astype(np.float32)
    return picture * clear + np.array(light, np.float32) * (1 - clear)


def _desaturated(picture: np.ndarray, share: float) -> np.ndarray:
    grey = picture @ np.array([0.114, 0.587, 0.299], np.float32)
    return picture + (grey[..., None] - picture) * np.float32(share)


def _vignette(picture: np.ndarray) -> np.ndarray:
    rows = np.linspace(-1, 1, picture.shape[0], dtype=np.float32)[:, None, None]
    columns = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)[None, :, None]
    return picture * (1 - 0.07 * (rows**2 + columns**2))


def _halos(canvas: Canvas, *, strength: float) -> np.ndarray:
    """The glowing surfaces and the light they scatter around them."""
    glow = canvas.glow.astype(np.float32) * np.float32(strength)
    small = cv2.resize(glow, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    halo = 0.5 * cv2.GaussianBlur(small, (0, 0), canvas.height / 320)
    halo += 0.3 * cv2.GaussianBlur(small, (0, 0), canvas.height / 90)
    return glow * 0.85 + cv2.resize(halo, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)


def _halos_of_lamps(scene: Scene) -> np.ndarray:
    """A soft warm disc around each bulb, as large as it is near."""
    canvas = scene.canvas
    spots = np.zeros((canvas.height // 4, canvas.width // 4, 3), np.float32)
    for lamp in scene.lamps:
        u, v = canvas.project(np.array([lamp]))[0] / 4
        radius = max(1.0, 0.3 * canvas.focal / lamp[2] / 4)
        if -50 < u < spots.shape[1] + 50 and -50 < v < spots.shape[0] + 50:
            cv2.circle(spots, (round(u), round(v)), round(radius), (90, 170, 240), -1)
    halo = cv2.GaussianBlur(spots, (0, 0), canvas.height / 110)
    return cv2.resize(halo, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)


def _cover_sky(canvas: Canvas, picture: np.ndarray, rng: np.random.Generator, tone: tuple) -> None:
    """Closes the sky with low clouds of about one tone."""
    sky = canvas.label == SKY
    clouds = fractal_noise(rng, canvas.height, canvas.width, cells=4, octaves=4, stretch=2.5)
    picture[sky] = np.array(tone, np.float32) * (0.86 + 0.2 * clouds[sky][:, None])


def _wet_ground(canvas: Canvas, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrors what is above the horizon in the ground, blurred along the rows' direction of view."""
    depth, x, _ = _world(canvas)
    ground = np.isin(canvas.label, GROUND)
    rows = np.arange(canvas.height, dtype=np.float32)
    ripple = (
        (fractal_noise(rng, canvas.height, canvas.width, cells=40, octaves=3) - 0.5) * canvas.height * 0.03
    )
    mirrored = np.clip(2 * canvas.centre_v - rows[:, None] + ripple, 0, canvas.height - 1).astype(np.float32)
    columns = np.broadcast_to(np.arange(canvas.width, dtype=np.float32), mirrored.shape)
    mirror = cv2.remap(picture, columns.copy(), mirrored, cv2.INTER_LINEAR)
    mirror = cv2.blur(mirror, (3, max(3, canvas.height // 24)))
    puddles = np.clip((ground_noise(rng, x, depth, metres=9.0) - 0.5) * 5, 0, 1)
    grazing = np.clip(depth / 30, 0, 1) ** 0.6
    share = (
        np.where(ground, 0.18 + 0.4 * grazing + 0.35 * puddles, 0).clip(0, 0.85)[..., None].astype(np.float32)
    )
    darker = np.where(ground[..., None], picture * np.float32(0.62), picture)
    return darker + (mirror - darker) * share


def _streaks(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Falling drops as short bright lines, all with nearly one slant."""
    height, width = picture.shape[:2]
    slant = rng.uniform(-0.22, 0.22)
    layer = np.zeros((height, width), np.float32)
    for length, count, light in ((0.04, 420, 0.22), (0.09, 170, 0.32), (0.16, 50, 0.4)):
        starts = rng.uniform((-0.05 * width, -0.1 * height), (1.05 * width, height), (count, 2))
        long = rng.uniform(0.6, 1.3, count) * length * height
        ends = starts + np.column_stack([long * slant, long])
        for a, b in zip(np.round(starts).astype(int), np.round(ends).astype(int), strict=True):
            cv2.line(layer, a.tolist(), b.tolist(), light, max(1, height // 400))
    layer = cv2.GaussianBlur(layer, (0, 0), height / 900)[..., None]
    return picture + (np.float32(225) - picture) * layer


def _drops(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drops on the lens: small discs through which the picture is blurred and upside down."""
    height, width = picture.shape[:2]
    blurred = cv2.GaussianBlur(picture, (0, 0), height / 60)
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(4, 12))):
        u, v = int(rng.integers(width)), int(rng.integers(height * 0.85))
        size = height * rng.uniform(0.008, 0.022)
        cv2.ellipse(mask, (u, v), (round(size), round(size * 1.3)), 0, 0, 360, 0.85, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), height / 300)[..., None]
    return picture + (blurred * 1.12 - picture) * mask


def _tops(canvas: Canvas) -> np.ndarray:
    """Upper rims of solid things: pixels of a thing with sky or a much farther thing right above."""
    rise = max(2, canvas.height // 170)
    above = np.roll(canvas.depth, rise, axis=0)
    above[:rise] = canvas.depth[:rise]
    solid = ~np.isin(canvas.label, (*GROUND, SKY, VOID))
    return solid & (above > canvas.depth * 1.25 + 1)


def _flakes(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flakes at three distances: many small sharp ones, a few large blurred ones."""
    height, width = picture.shape[:2]
    for count, size, blur, light in (
        (900, 0.0016, 0.0, 0.8),
        (260, 0.004, 0.0018, 0.8),
        (36, 0.011, 0.006, 0.75),
    ):
        layer = np.zeros((height, width), np.float32)
        for u, v, share in rng.random((count, 3)):
            radius = max(1, round(size * height * (0.6 + 0.8 * share)))
            cv2.ellipse(
                layer, (int(u * width), int(v * height)), (radius, round(radius * 1.4)), 20, 0, 360, light, -1
            )
        if blur:
            layer = cv2.GaussianBlur(layer, (0, 0), blur * height)
        picture = picture + (np.float32(250) - picture) * layer[..., None]
    return picture
