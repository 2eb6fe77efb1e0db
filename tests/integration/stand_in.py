# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in another program's place, for what the real one does not
do when asked: hang, refuse, lie."""

import http.server
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    # of HTTP/1.0: no connection outlives the server
    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self):
        said = self.server.answer(self)
        if said is None:  # hangs up
            self.close_connection = True
            return
        status, headers, body = said
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)),
                            **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_):
        pass


class StandIn(http.server.ThreadingHTTPServer):
    """`answer(request)` gives (status, headers, body), or None to hang up;
    request.body() reads what came with it."""
    daemon_threads, block_on_close = True, False

    def __init__(self, answer, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.address = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.address}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,),
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
