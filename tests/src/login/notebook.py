"""A small web application with login sessions: each user keeps notes. `notebook.py PORT`.

Everything is in memory, and the key that signs the session cookies is made anew at each start, so every
replica has cookies of its own and begins with nothing.
"""

import secrets
import sys

from flask import Flask, abort, redirect, request, session
from werkzeug.serving import make_server

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
app.config["SESSION_COOKIE_NAME"] = "notebook"
notes = {}


def user():
    return session.get("user") or abort(401)


@app.post("/login")
def login():
    session.clear()
    session["user"] = request.form["user"]
    # What every real application has, and no other replica can know.
    session["key"] = secrets.token_hex(16)
    return redirect("/notes", 303)


@app.post("/logout")
def logout():
    session.clear()
    return redirect("/notes", 303)


@app.get("/notes")
def read():
    return "".join(f"{note}\n" for note in notes.get(user(), [])), {"Content-Type": "text/plain"}


@app.post("/notes")
def write():
    notes.setdefault(user(), []).append(request.form["note"])
    return f"{len(notes[user()])}\n", {"Content-Type": "text/plain"}


@app.get("/health")
def health():
    return "well\n", {"Content-Type": "text/plain"}


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    server.serve_forever()
