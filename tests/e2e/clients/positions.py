"""Watches the acked positions of a group from the broker, until standard input ends; then lists the records of the topic.

Arguments: broker, topic, group, partitions. Prints one JSON object a line: {"time", "committed": {partition: next offset}} while it watches, then
{"records": [[partition, offset, id]]}. `time` is when the broker was asked, in seconds since the Unix epoch.
"""

import json
import sys
import threading
import time

from confluent_kafka import Consumer, TopicPartition

broker, topic, group, partitions = sys.argv[1:5]
places = [TopicPartition(topic, number) for number in range(int(partitions))]

stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()

# Asks for the group's offsets, and never joins it.
watcher = Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False})
while not stopped.wait(0.2):
    answer = watcher.committed(places, timeout=5)
    # Afterwards: what is committed by then was finished before.
    committed = {place.partition: place.offset for place in answer if place.offset >= 0}
    print(json.dumps({"time": time.time(), "committed": committed}), flush=True)
watcher.close()

reader = Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False})
records = []
for place in places:
    low, high = reader.get_watermark_offsets(place, timeout=5)
    reader.assign([TopicPartition(topic, place.partition, low)])
    while low < high:
        record = reader.poll(5)
        if record is None or record.error():
            sys.exit(f"{place.partition}/{low} could not be read: {record and record.error()}")
        headers = dict(record.headers() or [])
        records.append([place.partition, record.offset(), headers["ce_id"].decode()])
        low = record.offset() + 1
reader.close()
print(json.dumps({"records": records}), flush=True)
