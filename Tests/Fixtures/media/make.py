"""Writes the media of this folder and expected.txt, by Pillow, PyAV, torch and the ffmpeg command.

Lines of expected.txt, space-separated:
  image  FILE ORIENT WIDTH HEIGHT HASH            FNV-1a 64 of the RGB bytes of Pillow's convert("RGB")
  resize FILE WIDTH HEIGHT HASH                   ... after at::_upsample_bicubic2d_aa on uint8
  sample FILE WIDTH HEIGHT RESAMPLE HASH          ... after torch's other ways of resizing uint8, by number
  exact  FILE WIDTH HEIGHT FRAMES RATE HASH,...   PyAV's rgb24 of each frame
  close  FILE WIDTH HEIGHT FRAMES RATE INDEX,...  the frames with these indices lie in FILE.rgb
  bad    FILE CODE                                what must be refused
"""

import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, ImageOps

HERE = Path(__file__).parent
RANDOM = np.random.RandomState(11)
LINES: list[str] = []


def fnv(data: bytes) -> str:
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return str(h)


def pixels(width: int, height: int) -> np.ndarray:
    x, y = np.linspace(0, 255, width)[None, :, None], np.linspace(0, 255, height)[:, None, None]
    noise = RANDOM.normal(0, 12, (height, width, 3))
    return np.clip(0.5 * x * np.array([1, 0.5, 0.8]) + 0.5 * y + noise, 0, 255).astype(np.uint8)


def image(name: str, data: bytes, orient: bool = False) -> None:
    (HERE / name).write_bytes(data)
    opened = Image.open(io.BytesIO(data))
    if orient:
        opened = ImageOps.exif_transpose(opened)
    rgb = np.asarray(opened.convert("RGB"))
    LINES.append(f"image {name} {int(orient)} {rgb.shape[1]} {rgb.shape[0]} {fnv(rgb.tobytes())}")


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def deep_png(pixel_format: str, array: np.ndarray) -> bytes:
    height, width = array.shape[:2]
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        pixel_format,
        "-s",
        f"{width}x{height}",
        "-i",
        "-",
    ]
    command += ["-c:v", "png", "-f", "image2pipe", "-"]
    return subprocess.run(
        command, input=array.astype(">u2").tobytes(), capture_output=True, check=True
    ).stdout


def interlaced_png(array: np.ndarray) -> bytes:
    height, width = array.shape[:2]
    command = f"ffmpeg -v error -f rawvideo -pix_fmt rgb24 -s {width}x{height} -i - -flags +ildct"
    command += " -c:v png -f image2pipe -"
    return subprocess.run(
        command.split(), input=array.tobytes(), capture_output=True, check=True
    ).stdout


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, raw: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def small_frame_gif(transparent: bool) -> bytes:
    """A 4x3 frame at (2, 1) of an 8x6 screen; a clear code before every two pixels keeps codes at 3 bits."""
    palette = bytes([10, 20, 30, 200, 10, 10, 10, 200, 10, 10, 10, 200])
    codes: list[int] = []
    for start in range(0, 12, 2):
        codes += [4, start % 4, (start + 1) % 4]
    bits = sum(code << 3 * k for k, code in enumerate([*codes, 5]))
    data = bits.to_bytes((3 * (len(codes) + 1) + 7) // 8, "little")
    control = b"!\xf9\x04" + bytes([1 if transparent else 0, 0, 0, 2]) + b"\0"
    frame = (
        b"," + struct.pack("<HHHHB", 2, 1, 4, 3, 0) + b"\x02" + bytes([len(data)]) + data + b"\0"
    )
    return b"GIF89a" + struct.pack("<HHBBB", 8, 6, 0x81, 0, 0) + palette + control + frame + b";"


def images() -> None:
    base = Image.fromarray(pixels(23, 17))
    alpha = Image.fromarray(
        np.dstack([pixels(23, 17), RANDOM.randint(0, 256, (17, 23, 1)).astype(np.uint8)]), "RGBA"
    )
    for sampling in (0, 1, 2):
        image(f"ss{sampling}.jpg", encoded(base, "JPEG", subsampling=sampling))
    image("progressive.jpg", encoded(base, "JPEG", progressive=True))
    image("grey.jpg", encoded(base.convert("L"), "JPEG"))
    image("cmyk.jpg", encoded(base.convert("CMYK"), "JPEG"))
    for mode in ("1", "L", "P", "RGB"):
        image(f"{mode.lower()}.png", encoded(base.convert(mode), "PNG"))
    for mode in ("RGBA", "LA"):
        image(f"{mode.lower()}.png", encoded(alpha.convert(mode), "PNG"))
    few = base.quantize(4)
    image("p2-transparent.png", encoded(few, "PNG", bits=2, transparency=bytes([0, 99, 255, 3])))
    image("rgb-transparent.png", encoded(base, "PNG", transparency=(1, 2, 3)))
    image(
        "grey16.png",
        encoded(Image.fromarray(RANDOM.randint(0, 600, (17, 23)).astype(np.uint16)), "PNG"),
    )
    image("rgb16.png", deep_png("rgb48be", RANDOM.randint(0, 65536, (17, 23, 3))))
    image("rgba16.png", deep_png("rgba64be", RANDOM.randint(0, 65536, (17, 23, 4))))
    image("la16.png", deep_png("ya16be", RANDOM.randint(0, 65536, (17, 23, 2))))
    image(
        "animated.png",
        encoded(base, "PNG", save_all=True, append_images=[Image.fromarray(pixels(23, 17))]),
    )
    image("interlaced.png", interlaced_png(pixels(23, 17)))
    image("one.png", encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"))
    image("interlaced.gif", encoded(few, "GIF", interlace=1))
    image(
        "animated.gif",
        encoded(few, "GIF", save_all=True, append_images=[base.quantize(9)], transparency=1),
    )
    image("small-frame.gif", small_frame_gif(False))
    image("small-frame-transparent.gif", small_frame_gif(True))
    image("lossy.webp", encoded(base, "WEBP", quality=70))
    image("lossless.webp", encoded(base, "WEBP", lossless=True))
    image("alpha.webp", encoded(alpha, "WEBP", quality=60))
    image(
        "animated.webp",
        encoded(base, "WEBP", save_all=True, append_images=[Image.fromarray(pixels(23, 17))]),
    )
    for mode in ("1", "P", "RGB"):
        image(f"{mode.lower()}.bmp", encoded(base.convert(mode), "BMP"))
    image("rgba.bmp", encoded(alpha, "BMP"))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image(
            f"exif{orientation}.jpg",
            encoded(Image.fromarray(pixels(12, 7)), "JPEG", exif=exif),
            orient=True,
        )
    turned = (HERE / "exif6.jpg").read_bytes()
    image("exif6.jpg", turned)


def filtered_pngs() -> None:
    """Every kind and depth, with every filter."""
    draw = np.random.RandomState(5)
    sizes = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for kind, depths in sizes.items():
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
        for bits in depths:
            width, height = 13, 10
            row = (width * samples * bits + 7) // 8
            raw = b"".join(bytes([y % 5]) + draw.bytes(row) for y in range(height))
            parts = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
            if kind == 3:
                parts += chunk(b"PLTE", draw.bytes(3 << bits))
            if kind in (0, 2):
                parts += chunk(b"tRNS", bytes(2 * samples))
            data = zlib.compress(raw)
            parts += chunk(b"IDAT", data[:40]) + chunk(b"IDAT", data[40:]) + chunk(b"IEND", b"")
            image(f"filters-{kind}-{bits}.png", b"\x89PNG\r\n\x1a\n" + parts)
    # Rows that the header does not know of.
    image("surplus.png", png(5, 4, (b"\0" + draw.bytes(15)) * 6))


def bmp(bits: int, data: bytes, palette: bytes = b"", method: int = 0, masks: bytes = b"", header: int = 40,
        height: int = 11) -> bytes:  # fmt: skip
    """13 pixels wide, as no encoder at hand writes it."""
    if header == 12:
        head = struct.pack("<IHHHH", 12, 13, height, 1, bits)
    else:
        sizes = (len(data), 0, 0, len(palette) // 4, 0)
        head = struct.pack("<IiiHHIIiiII", header, 13, height, 1, bits, method, *sizes)
        head += masks.ljust(header - 40, b"\0")
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data


def bmps() -> None:
    """Every depth, both compressions, masks, from the top, and the header of OS/2."""
    draw = np.random.RandomState(6)

    def rows(bits: int) -> bytes:
        return draw.bytes((13 * bits + 31) // 32 * 4 * 11)

    colours = b"".join(draw.bytes(3) + b"\0" for _ in range(256))
    for bits in (1, 4, 8):
        image(f"depth-{bits}.bmp", bmp(bits, rows(bits), colours[: 4 << bits]))
    for bits in (16, 24, 32):
        image(f"depth-{bits}.bmp", bmp(bits, rows(bits)))
    image("top.bmp", bmp(24, rows(24), height=-11))
    image("os2.bmp", bmp(24, rows(24), header=12))
    image("565.bmp", bmp(16, rows(16), method=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F), header=52))
    masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    image("abgr.bmp", bmp(32, rows(32), method=3, masks=masks, header=124))
    runs = b"".join(b"\x0d" + draw.bytes(1) + b"\0\0" for _ in range(11)) + b"\0\1"
    image("rle8.bmp", bmp(8, runs, colours, method=1))
    image("rle4.bmp", bmp(4, runs, colours[:64], method=2))


def resizes() -> None:
    source = Image.fromarray(RANDOM.randint(0, 256, (37, 53, 3)).astype(np.uint8))
    (HERE / "noise.png").write_bytes(encoded(source, "PNG"))
    tensor = torch.from_numpy(np.array(source)).permute(2, 0, 1)[None].contiguous()
    for width, height in [
        (56, 28),
        (53, 84),
        (28, 37),
        (7, 5),
        (120, 140),
        (53, 37),
        (2, 3),
        (54, 36),
    ]:
        out = torch._C._nn._upsample_bicubic2d_aa(tensor, [height, width], False, None, None)
        rgb = out[0].permute(1, 2, 0).contiguous().numpy()
        LINES.append(f"resize noise.png {width} {height} {fnv(rgb.tobytes())}")
        ways = [
            torch._C._nn._upsample_nearest_exact2d(tensor, [height, width], None, None),
            torch.nn.functional.interpolate(tensor, [height, width], mode="lanczos", antialias=True),
            torch._C._nn._upsample_bilinear2d_aa(tensor, [height, width], False, None, None),
        ]
        for resample, out in enumerate(ways):
            rgb = out[0].permute(1, 2, 0).contiguous().numpy()
            LINES.append(f"sample noise.png {width} {height} {resample} {fnv(rgb.tobytes())}")


def clip(
    name: str,
    codec: str,
    pixel_format: str,
    exact: bool,
    size: tuple[int, int] = (32, 32),
    **options: str,
) -> None:
    width, height = size
    path = HERE / name
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        y, x = np.mgrid[0:height, 0:width]
        for k in range(6):
            rgb = np.stack([x * 5 + k * 9, y * 6 + k * 3, (x + y) * 3 + k * 11], -1) % 256
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24")
            ):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    head = f"{name} {width} {height} {len(frames)} {rate.numerator}/{rate.denominator}"
    if exact:
        LINES.append(f"exact {head} {','.join(fnv(frame.tobytes()) for frame in frames)}")
    else:
        (HERE / f"{name}.rgb").write_bytes(frames[1].tobytes() + frames[5].tobytes())
        LINES.append(f"close {head} 1,5")


def marked(name: str, codec: str, options: str) -> None:
    """A clip of ten frames whose colours, times or direction are marked by the container or the codec."""
    source = "ffmpeg -v error -y -f lavfi -i testsrc2=size=34x18:rate=24:duration=0.42"
    command = f"{source} -c:v {codec} {options}"
    subprocess.run([*command.split(), "-pix_fmt", "yuv420p", str(HERE / name)], check=True)
    with av.open(str(HERE / name)) as container:
        rate = container.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    (HERE / f"{name}.rgb").write_bytes(frames[1].tobytes() + frames[5].tobytes())
    height, width = frames[0].shape[:2]
    LINES.append(f"close {name} {width} {height} {len(frames)} {rate.numerator}/{rate.denominator} 1,5")


def clips() -> None:
    quiet = {"x265-params": "log-level=none"}
    clip("h264.mp4", "libx264", "yuv420p", False)
    clip("h264-10.mkv", "libx264", "yuv420p10le", False)
    clip("h264-444.mp4", "libx264", "yuv444p", False, crf="20")
    clip("h264-rgb.mp4", "libx264rgb", "rgb24", True, qp="0")
    clip("hevc.mp4", "libx265", "yuv420p", False, **quiet)
    clip("hevc-rgb.mkv", "libx265", "gbrp", True, **{"x265-params": "lossless=1:log-level=none"})
    clip("vp8.webm", "libvpx", "yuv420p", False)
    clip("vp9.webm", "libvpx-vp9", "yuv420p", False)
    clip("vp9-rgb.mkv", "libvpx-vp9", "gbrp", True, lossless="1")
    clip("av1.mp4", "libsvtav1", "yuv420p", False, size=(64, 64))
    clip("ffv1-rgb.mkv", "ffv1", "bgr0", True)
    clip("ffv1-odd.mkv", "ffv1", "yuv420p", False, size=(33, 17))
    clip("ffv1-slices.mkv", "ffv1", "bgr0", True, size=(48, 40), level="3", slices="4")
    marked("bt709-full.mp4", "libx264", "-colorspace bt709 -color_range pc")
    marked("uneven.mp4", "libx264", "-vf select=not(mod(n\\,3))+eq(mod(n\\,7)\\,1) -vsync vfr")
    marked("odd.webm", "libvpx-vp9", "-vf format=rgb24,crop=33:17:0:0:exact=1")
    marked("bt2020.mp4", "libx264", "-colorspace bt2020nc")
    marked("interlaced.mp4", "libx264", "-s 36x20 -flags +ildct+ilme -field_order tt")
    marked("turned.mp4", "libx264", "-metadata:s:v:0 rotate=90")
    clip("mpeg4.mp4", "mpeg4", "yuv420p", False)
    LINES.pop()
    (HERE / "mpeg4.mp4.rgb").unlink()


def refused() -> None:
    noise = Image.fromarray(RANDOM.randint(0, 256, (40, 40, 3)).astype(np.uint8))
    with av.open(str(HERE / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode()]:
            out.mux(packet)
    files = {
        "truncated.jpg": (encoded(noise, "JPEG")[:900], "invalid_media"),
        "truncated.png": (encoded(noise, "PNG")[:900], "invalid_media"),
        "truncated.gif": (encoded(noise, "GIF")[:1200], "invalid_media"),
        "truncated.webp": (encoded(noise, "WEBP")[:300], "invalid_media"),
        "truncated.bmp": (encoded(noise, "BMP")[:900], "invalid_media"),
        "missing-rows.png": (png(40, 40, b"\0" * 121 * 3), "invalid_media"),
        "bomb.png": (png(10000, 10000, b"\0" * 30001), "media_too_large"),
        "wide.png": (png(30000, 10, b"\0" * 90001), "media_too_large"),
        "picture.svg": (
            b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
            "unsupported_media",
        ),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "unsupported_media"),
        "empty.png": (b"", "invalid_media"),
        "playlist.mp4": (b"#EXTM3U\nfile:///etc/passwd\n", "unsupported_media"),
        "truncated.mp4": ((HERE / "h264.mp4").read_bytes()[:900], "invalid_media"),
    }
    for name, (data, code) in files.items():
        (HERE / name).write_bytes(data)
        LINES.append(f"bad {name} {code}")
    LINES.append("bad sound.mp4 invalid_media")
    LINES.append("bad mpeg4.mp4 unsupported_media")


def main() -> None:
    images()
    filtered_pngs()
    bmps()
    resizes()
    clips()
    refused()
    (HERE / "expected.txt").write_text("\n".join(LINES) + "\n")


if __name__ == "__main__":
    main()
