# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small ttrpc client and protobuf codec, enough to drive a shim from a test."""
import array
import socket
import struct


def varint(value):
    out = b""
    while True:
        byte = value & 0x7F
        value >>= 7
        if value:
            out += bytes([byte | 0x80])
        else:
            return out + bytes([byte])


def encode(fields):
    """fields: list of (number, int | bytes | str)."""
    out = b""
    for number, value in fields:
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """Returns {number: [values]}."""
    fields, at = {}, 0

    def read_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(data):
        key = read_varint()
        if key & 7 == 0:
            value = read_varint()
        else:
            assert key & 7 == 2, key
            length = read_varint()
            value = data[at:at + length]
            at += length
        fields.setdefault(key >> 3, []).append(value)
    return fields


class Error(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.next_stream = 1
        self.frames = []

    def close(self):
        self.socket.close()

    def read_exactly(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def read_frame(self):
        length, stream, kind, _flags = struct.unpack(">IIBB", self.read_exactly(10))
        return stream, kind, self.read_exactly(length)

    def send(self, method, fields, service="containerd.task.v2.Task", fds=()):
        request = encode([(1, service), (2, method), (3, encode(fields))])
        frame = struct.pack(">IIBB", len(request), self.next_stream, 1, 0) + request
        ancillary = []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = self.socket.sendmsg([frame], ancillary)
        if sent < len(frame):
            self.socket.sendall(frame[sent:])
        self.next_stream += 2
        return self.next_stream - 2

    def wait(self, stream):
        while True:
            for index, (of, kind, data) in enumerate(self.frames):
                if of == stream and kind == 2:
                    del self.frames[index]
                    response = decode(data)
                    if 1 in response:
                        status = decode(response[1][0])
                        raise Error(status.get(1, [0])[0], status.get(2, [b""])[0].decode())
                    return decode(response.get(2, [b""])[0])
            self.frames.append(self.read_frame())

    def call(self, method, fields, **kwargs):
        return self.wait(self.send(method, fields, **kwargs))

    def event(self, topic):
        """Waits for the next event of a topic on a watched stream; returns the message."""
        while True:
            for index, (_stream, kind, data) in enumerate(self.frames):
                if kind == 3:
                    envelope = decode(data)
                    if envelope[3][0].decode() == topic:
                        del self.frames[index]
                        return decode(decode(envelope[4][0])[2][0])
            self.frames.append(self.read_frame())

    def any_event(self):
        """Waits for the next event; returns its topic and message."""
        while True:
            for index, (_stream, kind, data) in enumerate(self.frames):
                if kind == 3:
                    envelope = decode(data)
                    del self.frames[index]
                    return envelope[3][0].decode(), decode(decode(envelope[4][0])[2][0])
            self.frames.append(self.read_frame())
