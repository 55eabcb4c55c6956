//! Pure types and rules of webhook delivery: ids, events, endpoints, policies, matching, limits.
