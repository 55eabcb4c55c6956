"""Prints what lies in a topic: one JSON object a record, with its headers and its value as text.

Arguments: broker, topic.
"""

import json
import sys

from confluent_kafka import Consumer, TopicPartition

broker, topic = sys.argv[1:3]
reader = Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False})
for number in reader.list_topics(topic, 5).topics[topic].partitions:
    low, high = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=5)
    reader.assign([TopicPartition(topic, number, low)])
    while low < high:
        record = reader.poll(5)
        if record is None or record.error():
            sys.exit(f"{number}/{low} could not be read")
        headers = {name: value and value.decode() for name, value in record.headers() or []}
        print(json.dumps({"headers": headers, "value": record.value().decode()}))
        low = record.offset() + 1
reader.close()
