"""Writes events one after the other with librdkafka, until standard input ends; then says what became of each.

Arguments: brokers, topic. Prints {"acknowledged": [id], "failed": [[id, error]]} once every record has its answer.
"""

import json
import sys
import threading

from confluent_kafka import Producer

brokers, topic = sys.argv[1:3]

stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()

producer = Producer(
    {
        "bootstrap.servers": brokers,
        "acks": "all",
        "enable.idempotence": True,
        "delivery.timeout.ms": 15000,
        "queue.buffering.max.messages": 1000,
    }
)
acknowledged, failed = [], []


def answered(id, error):
    if error:
        failed.append([id, str(error)])
    else:
        acknowledged.append(id)


number = 0
while not stopped.wait(0.02):
    id = f"librdkafka-{number}"
    number += 1
    headers = {"ce_id": id, "ce_type": "a.b", "ce_source": "/steady"}
    try:
        producer.produce(
            topic, b"{}", headers=headers, on_delivery=lambda error, _, id=id: answered(id, error)
        )
    except BufferError as error:
        failed.append([id, str(error)])
    producer.poll(0)
if producer.flush(30):
    sys.exit("records without an answer")
print(json.dumps({"acknowledged": acknowledged, "failed": failed}))
