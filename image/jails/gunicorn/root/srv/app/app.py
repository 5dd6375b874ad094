"""What the gunicorn example serves: a WSGI application that says what it was asked, and does some work."""

import hashlib


def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"] == "/digest":
        text = hashlib.sha256(body).hexdigest()
    else:
        text = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} by python in a Warder jail"
    data = f"{text}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]
