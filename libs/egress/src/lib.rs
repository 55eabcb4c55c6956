//! The only way out to receivers: address policy, pooled client, bounded answers.
