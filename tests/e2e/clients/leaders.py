"""Prints the partitions of a topic as JSON: {partition: [number of its leader, how many copies are in sync]}.

Arguments: brokers, topic.
"""

import json
import sys

from confluent_kafka.admin import AdminClient

brokers, topic = sys.argv[1:3]
found = AdminClient({"bootstrap.servers": brokers}).list_topics(topic, timeout=10)
partitions = found.topics[topic].partitions.values()
print(json.dumps({place.id: [place.leader, len(place.isrs)] for place in partitions}))
