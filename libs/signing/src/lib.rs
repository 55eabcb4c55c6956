//! Webhook signatures and secrets; pure, used by senders and receivers.
