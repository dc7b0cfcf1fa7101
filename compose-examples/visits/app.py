import os

import redis
from flask import Flask

app = Flask(__name__)
cache = redis.Redis(host=os.environ["REDIS_HOST"])


@app.route("/")
def hello():
    return f"{os.environ['GREETING']}! This page was visited {cache.incr('visits')} times.\n"


@app.route("/health")
def health():
    return "ok\n"
