//! Resource names from what people type: an id, or the whole name.

/// `tenants/{tenant}`.
pub(crate) fn tenant(tenant: &str) -> String {
    if tenant.starts_with("tenants/") { tenant.to_owned() } else { format!("tenants/{tenant}") }
}

/// `tenants/{tenant}/endpoints/{endpoint}`; `-` stands for all.
pub(crate) fn endpoint(of: &str, id: &str) -> String {
    child(&tenant(of), "endpoints", id)
}

/// `tenants/{tenant}/events/{event}`.
pub(crate) fn event(of: &str, id: &str) -> String {
    child(&tenant(of), "events", id)
}

/// `{parent}/{collection}/{id}`, unless `id` is a whole name already.
pub(crate) fn child(parent: &str, collection: &str, id: &str) -> String {
    if id.starts_with("tenants/") { id.to_owned() } else { format!("{parent}/{collection}/{id}") }
}

/// The last part of a name.
pub(crate) fn last(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The part of a name that follows `collection/`.
pub(crate) fn part(name: &str, collection: &str) -> String {
    let mut parts = name.split('/');
    parts.find(|part| *part == collection);
    parts.next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_and_names_stay() {
        assert_eq!(endpoint("default", "shop"), "tenants/default/endpoints/shop");
        assert_eq!(endpoint("default", "tenants/x/endpoints/shop"), "tenants/x/endpoints/shop");
        let name = "tenants/t/endpoints/e/deliveries/evt_1";
        assert_eq!(last(name), "evt_1");
        assert_eq!(part(name, "endpoints"), "e");
        assert_eq!(part(name, "jobs"), "");
    }
}
