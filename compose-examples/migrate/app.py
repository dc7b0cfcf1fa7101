import redis
from flask import Flask

app = Flask(__name__)
db = redis.Redis(host="db", decode_responses=True)


@app.route("/")
def colors():
    return f"schema {db.get('schema')}: {', '.join(db.lrange('colors', 0, -1))}\n"


@app.route("/health")
def health():
    return "ok\n"
