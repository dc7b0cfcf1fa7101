import os

import redis
from flask import Flask, render_template

app = Flask(__name__)
cache = redis.Redis(host=os.environ["REDIS_HOST"])


@app.route("/")
def page():
    return render_template("page.txt", count=cache.incr("visits")) + "\n"


@app.route("/installed")
def installed():
    with open("/installed") as packages:
        return packages.read()


@app.route("/health")
def health():
    return "ok\n"
