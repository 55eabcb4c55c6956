"""Verifies captured deliveries with the official `standardwebhooks` package.

Reads one JSON object a line: {"secret", "headers", "body"} with the body in base64. Prints how many verified.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

verified = 0
for line in sys.stdin:
    delivery = json.loads(line)
    body = base64.b64decode(delivery["body"])
    webhook = Webhook(delivery["secret"])
    event = webhook.verify(body, delivery["headers"])
    assert event["id"] == delivery["headers"]["webhook-id"], event
    try:
        webhook.verify(body + b" ", delivery["headers"])
    except WebhookVerificationError:
        verified += 1
    else:
        sys.exit("a changed body verified")
print(verified)
