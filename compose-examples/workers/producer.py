"""Sends as many jobs as it is told to, and waits for all results."""

import sys

import redis

queue = redis.Redis(host="queue")
count = int(sys.argv[1])
queue.rpush("jobs", *range(count))
workers, total = set(), 0
for _ in range(count):
    result = queue.blpop("results", timeout=30)
    if result is None:
        sys.exit("a result is missing")
    worker, square = result[1].decode().split()
    workers.add(worker)
    total += int(square)
print(f"{count} jobs done by {len(workers)} workers, sum {total}")
