# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the corpus of fuzz-grpc: grpc-corpus.py DIRECTORY STAMP"""
import os
import random
import struct
import sys


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request(path):
    return (b"\x83\x86" + field(":path", path) + field(":authority", "x") + field("te", "trailers")
            + field("content-type", "application/grpc") + field("grpc-timeout", "5S") + field("k-bin", "AP8="))


def message(body, compressed=0):
    return struct.pack(">BI", compressed, len(body)) + body


def main():
    directory, stamp = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    cases = {"empty": b"", "text": b"GET / HTTP/1.1\r\n\r\n", "ping": frame(6, 0, 0, b"12345678") * 3,
             "continuation": frame(1, 0, 1, request("/t/U")[:20]) + frame(9, 4, 1, request("/t/U")[20:]) + frame(0, 1, 1, message(b"x")),
             "compressed": frame(1, 4, 1, request("/t/U")) + frame(0, 1, 1, message(b"x", 1)),
             "large": frame(1, 4, 1, request("/t/B")) + frame(0, 0, 1, struct.pack(">BI", 0, 0xfffffff)),
             "window": frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2, "goaway": frame(7, 0, 0, b"\0" * 8),
             "settings": frame(4, 0, 0, struct.pack(">HIHIHI", 4, 0, 5, 16384, 6, 1)),
             "priority": frame(2, 0, 1, b"\0\0\0\3\x10"), "push": frame(5, 4, 1, b"\0\0\0\2" + request("/t/U"))}
    for method in "UWSB?":
        cases[f"call-{ord(method)}"] = b"".join(
            frame(1, 4, stream, request(f"/t/{method}")) + frame(0, 0, stream, message(b"abc")[:6])
            + frame(0, 1, stream, message(b"abc")[6:]) for stream in (1, 3, 5))
        cases[f"reset-{ord(method)}"] = frame(1, 4, 1, request(f"/t/{method}")) + frame(0, 0, 1, message(b"a")) + frame(3, 0, 1, b"\0\0\0\x08")
        cases[f"many-{ord(method)}"] = frame(1, 4, 1, request(f"/t/{method}")) + frame(0, 1, 1, message(b"a") * 50)
    rng = random.Random(0)
    names = list(cases)
    for i in range(200):
        data = bytearray(cases[rng.choice(names)] + cases[rng.choice(names)])
        for _ in range(rng.randrange(1, 6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        cases[f"mutant-{i}"] = bytes(data)
    for name, data in cases.items():
        for step in (b"\0", b"\x01", b"\x80"):
            with open(f"{directory}/{name}-{step[0]}", "wb") as file:
                file.write(step + data)
    with open(stamp, "w", encoding="ascii"):
        pass


main()
