# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry in memory that can be told to misbehave, for the faults that a real one does not have."""
import hashlib
import http.server
import json
import re
import socket
import ssl
import threading

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_one(self):
        registry = self.server.registry
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        with registry.lock:
            headers = {name: ", ".join(self.headers.get_all(name)) for name in self.headers.keys()}
            registry.requests.append((self.command, self.path, headers))
            routes = list(registry.routes)
        for method, pattern, func in routes:
            match = re.search(pattern, self.path)
            if match and method in ("*", self.command) and func(self, match) is not False:
                return
        registry.serve(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one

    def answer(self, status, body=b"", **headers):
        """A whole answer; header names with _ for -."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content_Type", "application/json")
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def cut(self):
        """Drops the connection without another word."""
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # peers that hang up are what some tests are about


class Registry:
    def __init__(self, host="127.0.0.1", tls=None):
        self.lock = threading.Lock()
        self.requests, self.routes = [], []
        self.manifests, self.blobs, self.types, self.uploads = {}, {}, {}, {}
        self.server = Server((host, 0), Handler)
        self.server.registry = self
        self.tls = tls is not None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.name = f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.name}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def on(self, method, pattern):
        """A decorator: func (handler, match) answers instead, unless it returns False. The newest comes first."""
        def add(func):
            with self.lock:
                self.routes.insert(0, (method, pattern, func))
            return func
        return add

    def seen(self, method, pattern):
        with self.lock:
            return [(m, p, h) for m, p, h in self.requests if m == method and re.search(pattern, p)]

    def add_blob(self, data):
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def add_manifest(self, repository, tag, document, media_type=MANIFEST):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = digest_of(data)
        for name in (tag, digest):
            self.manifests[repository, name] = data
        self.types[digest] = media_type
        return digest

    def add_image(self, repository="a/image", tag="1", layer=b"layer" * 1000):
        config, layer_digest = self.add_blob(b"{}"), self.add_blob(layer)
        return self.add_manifest(repository, tag, {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": len(layer)}]})

    # What a good registry does.

    def serve(self, handler):
        path = handler.path.split("?")[0]
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", path)
        blob = re.fullmatch(r"/v2/(.+)/blobs/(sha\d+:[0-9a-f]+)", path)
        if path == "/v2/":
            handler.answer(200, {})
        elif manifest and handler.command == "PUT":
            digest = self.add_manifest(manifest[1], manifest[2], handler.body, handler.headers["Content-Type"])
            handler.answer(201, Docker_Content_Digest=digest)
        elif manifest and (manifest[1], manifest[2]) in self.manifests:
            data = self.manifests[manifest[1], manifest[2]]
            handler.answer(200, data, Content_Type=self.types[digest_of(data)], Docker_Content_Digest=digest_of(data))
        elif blob and blob[2] in self.blobs:
            self.serve_blob(handler, self.blobs[blob[2]])
        else:
            handler.answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN" if manifest else "UNKNOWN", "message": "there is no such thing"}]})

    def serve_blob(self, handler, data):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range") or "")
        if not wanted:
            handler.answer(200, data, Content_Type="application/octet-stream")
            return
        start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        handler.answer(206, data[start:end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}")
