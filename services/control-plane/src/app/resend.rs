//! Delivering an event anew, as a run of its own.

use std::collections::BTreeMap;

use domain::{CommandKind, Endpoint, EndpointState, Matcher};
use ports::TenantConfig;

use super::commands::Order;
use super::endpoint_state::disabled_for_good;
use super::tenants::find_endpoint;
use super::{App, DeliveryName, EndpointName, Error, EventName, RequestId};

impl App {
    /// Delivers an event anew to one endpoint, or to all that match it now and are not disabled. Gives the deliveries that were started.
    ///
    /// # Errors
    /// [`Error::EndpointDisabled`] when an endpoint is named and disabled by hand or by its answer.
    pub(crate) async fn resend(
        &self,
        name: &EventName,
        endpoint: Option<&EndpointName>,
        request: Option<&RequestId>,
    ) -> Result<Vec<DeliveryName>, Error> {
        let config = self.tenant(&name.tenant).await?;
        let event = self.event(name).await?;
        let targets: Vec<Endpoint> = match endpoint {
            Some(endpoint) => vec![target(&config, endpoint)?],
            None => matching(&config, &event.event),
        };
        let seed = self.seed(&name.tenant, request).await?;
        let orders: Vec<Order> = targets
            .iter()
            .map(|endpoint| Order {
                id: seed.command(&endpoint.uid.to_string()),
                shard: self.shard_for(&event.at, endpoint.uid),
                time: seed.time(),
                endpoint: endpoint.uid,
                kind: CommandKind::Resend {
                    event: event.at.clone(),
                    run: seed.run(&endpoint.uid.to_string()),
                },
            })
            .collect();
        if !orders.is_empty() {
            // An owner of a shard may meet the command after the log has let the record go.
            self.deps.events.put_events(&[event]).await?;
            self.send(&name.tenant, orders).await?;
        }
        Ok(targets
            .into_iter()
            .map(|endpoint| DeliveryName {
                endpoint: EndpointName { tenant: endpoint.tenant, endpoint: endpoint.id },
                event: name.event.clone(),
            })
            .collect())
    }
}

fn target(config: &TenantConfig, name: &EndpointName) -> Result<Endpoint, Error> {
    let endpoint = &find_endpoint(config, name)?.endpoint;
    match disabled_for_good(endpoint) {
        Some(error) => Err(error),
        None => Ok(endpoint.clone()),
    }
}

fn matching(config: &TenantConfig, event: &domain::Event) -> Vec<Endpoint> {
    let matched = matcher(config).matching(event);
    config
        .endpoints
        .iter()
        .map(|config| &config.endpoint)
        .filter(|endpoint| matched.contains(&endpoint.uid))
        .filter(|endpoint| !matches!(endpoint.state, EndpointState::Disabled(_)))
        .cloned()
        .collect()
}

/// The index over a tenant's subscriptions.
pub(crate) fn matcher(config: &TenantConfig) -> Matcher {
    let uids: BTreeMap<_, _> = config
        .endpoints
        .iter()
        .map(|config| (config.endpoint.id.clone(), config.endpoint.uid))
        .collect();
    Matcher::new(config.subscriptions.clone(), &uids)
}
