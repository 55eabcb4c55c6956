// Verifies captured deliveries with the official `standardwebhooks` package.
//
// Reads one JSON object a line: {"secret", "headers", "body"} with the body in base64. Prints how many verified.
const { Webhook, WebhookVerificationError } = require("standardwebhooks");
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);

let verified = 0;
for (const line of lines) {
  const { secret, headers, body } = JSON.parse(line);
  const text = Buffer.from(body, "base64").toString("utf8");
  const webhook = new Webhook(secret);
  const event = webhook.verify(text, headers);
  if (event.id !== headers["webhook-id"]) throw new Error(`id of ${line}`);
  try {
    webhook.verify(text + " ", headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    verified += 1;
    continue;
  }
  throw new Error("a changed body verified");
}
console.log(verified);
