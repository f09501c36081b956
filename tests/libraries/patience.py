"""How long a browser waits for a WebSocket that does not come, by its own events and by what its server sees:

    python patience.py PROGRAM [SECONDS]

A page opens one WebSocket to a server that accepts and never answers, and one to a port whose queue is full, so that the kernel drops each SYN as a
firewall does. A line of JSON for each: when the page heard of it, with which code, and when TCP ended at the server. It ends when both have, or after
SECONDS (600).
"""

import http.server
import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

PAGE = """<!doctype html><script>
for (const [name, port] of PORTS) {
  const from = performance.now(), socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  const tell = (what) => fetch('/told', { method: 'POST', body: JSON.stringify({ name, ...what, after_s: (performance.now() - from) / 1000 }) });
  socket.onclose = (event) => tell({ event: 'close', code: event.code });
}
</script>"""


def listening(backlog):
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(backlog)
    return server


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 600
    mute, full = listening(16), listening(0)
    # Connections that nobody accepts fill the queue.
    fill = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        fill.append(one)
    ports = [["unanswered", mute.getsockname()[1]], ["blackholed", full.getsockname()[1]]]
    done = threading.Semaphore(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = PAGE.replace("PORTS", json.dumps(ports)).encode() if self.path == "/" else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
            self.send_response(204)
            self.end_headers()
            done.release()

    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=page.serve_forever, daemon=True).start()

    def watch():
        while True:
            peer, _ = mute.accept()
            from_s = time.monotonic()
            request = peer.recv(4096)
            if b"websocket" not in request.lower():
                continue
            # Readable again: it has ended.
            select.select([peer], [], [])
            print(json.dumps({"name": "unanswered", "event": "TCP ended at the server", "after_s": time.monotonic() - from_s}), flush=True)

    threading.Thread(target=watch, daemon=True).start()
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(json.dumps({"browser": version, "date": time.strftime("%Y-%m-%d")}), flush=True)
    profile = tempfile.mkdtemp(prefix="closestorm-browser-")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    browser = subprocess.Popen([program, *flags, f"http://127.0.0.1:{page.server_port}/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + seconds
    try:
        for _ in ports:
            if not done.acquire(timeout=max(0, until - time.monotonic())):
                print(json.dumps({"event": f"nothing more within {seconds:g} s"}), flush=True)
                break
        time.sleep(0.5)
    finally:
        browser.terminate()
        browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
