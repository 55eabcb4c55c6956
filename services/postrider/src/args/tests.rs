use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("postrider").chain(line.split(' ')))
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn every_documented_command_parses() {
    for line in [
        "endpoint create https://x.example/hook --id shop --event payment.* --event * --secret whsec_x --retry-schedule 10s,1m,5m,30m,1h,6h,24h --timeout 30s --rate-limit 100/s --max-concurrency 8 --ordering by-key --format cloudevents-binary --signature x-webhook --header K:V",
        "endpoint list -o json",
        "endpoint get shop",
        "endpoint update shop --url https://y.example --retry-schedule none --rate-limit none",
        "endpoint delete shop --etag x",
        "endpoint pause shop",
        "endpoint resume shop --no-catch-up",
        "endpoint disable shop",
        "endpoint test shop",
        "endpoint rotate-secret shop --grace-period 0",
        "endpoint stats shop",
        "subscription create shop --event payment.completed --filter x --channel eu",
        "subscription list shop",
        "subscription get shop s1",
        "subscription update shop s1 --event *",
        "subscription delete shop s1",
        "event publish payment.completed --data {} --id e1 --idempotency-key k --api-version 2026-08-01 --ordering-key o --channel eu --channel us --deliver-at 10m",
        "event publish payment.completed --data @file",
        "event publish payment.completed --data -",
        "event list --since 1h --limit 10",
        "event get e1",
        "event resend e1 --endpoint shop",
        "delivery list --endpoint shop",
        "delivery list --event e1",
        "delivery get e1 --endpoint shop",
        "delivery cancel e1 --endpoint shop",
        "attempt list e1 --endpoint shop",
        "dead-letter list --reason rejected",
        "dead-letter get d1",
        "dead-letter redrive d1",
        "dead-letter redrive --endpoint shop",
        "dead-letter redrive --all",
        "verify --secret whsec_x webhook-id:e1 --header webhook-timestamp:1 --body @file",
        "sign --secret whsec_x --body -",
        "completions bash",
        "completions zsh",
        "completions fish",
        "dev --listen 127.0.0.1:0 --data-dir x",
        "serve --config postrider.toml --roles control-plane,delivery-worker --listen 0.0.0.0:7070 --key-file k",
        "demo --keep",
        "doctor --data-dir x",
        "migrate",
        "config check --config postrider.toml",
        "--server http://x:1 --api-key k --tenant t -o yaml endpoint list",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_right_is_a_usage_error() {
    for line in [
        "endpoint create",
        "endpoint create https://x.example --rate-limit 100",
        "endpoint create https://x.example --timeout soon",
        "endpoint create https://x.example --filter x",
        "event publish payment.completed",
        "delivery list",
        "delivery get e1",
        "dead-letter redrive",
        "dead-letter redrive d1 --all",
        "subscription create shop",
        "endpoint list --limit 0",
        "endpoint list -o xml",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
