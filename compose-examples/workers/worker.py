"""Takes numbers from the queue and puts their squares into another one."""

import socket
import time

import redis

queue = redis.Redis(host="queue")
while True:
    _, number = queue.blpop("jobs")
    time.sleep(0.02)
    queue.rpush("results", f"{socket.gethostname()} {int(number) ** 2}")
