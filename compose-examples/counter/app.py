import os

import redis
from flask import Flask

app = Flask(__name__)
cache = redis.Redis(host=os.environ["REDIS_HOST"])


@app.route("/")
def hello():
    return f"Hello! This page has been seen {cache.incr('hits')} times.\n"


@app.route("/health")
def health():
    return "ok\n"
