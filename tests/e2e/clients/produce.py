"""Writes records as plain producers do: with librdkafka (confluent-kafka) and with kafka-python, in each form.

Arguments: broker, topic.
"""

import json
import sys

import confluent_kafka
import kafka

broker, topic = sys.argv[1:3]

librdkafka = confluent_kafka.Producer(
    {"bootstrap.servers": broker, "acks": "all", "partitioner": "murmur2_random"}
)
failed = []
done = lambda error, record: failed.append(error) if error else None  # noqa: E731
librdkafka.produce(
    topic,
    key="order-1",
    value=b'{"amount": 12.50}',
    headers={"ce_id": "librdkafka-binary", "ce_type": "payment.completed", "ce_source": "/shop"},
    on_delivery=done,
)
structured = {
    "specversion": "1.0",
    "id": "librdkafka-structured",
    "source": "/shop",
    "type": "payment.completed",
    "data": {"amount": 13},
}
librdkafka.produce(
    topic,
    value=json.dumps(structured),
    headers={"content-type": "application/cloudevents+json"},
    on_delivery=done,
)
if librdkafka.flush(20) or failed:
    sys.exit(f"librdkafka: {failed}")

python = kafka.KafkaProducer(bootstrap_servers=broker, acks="all")
envelope = {"id": "python-envelope", "type": "payment.completed", "data": {"amount": 14}}
python.send(topic, value=json.dumps(envelope).encode()).get(20)
python.send(topic, value=b"no event at all").get(20)
python.close()
