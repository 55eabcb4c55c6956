use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::addresses::{DENIED_V4, DENIED_V6, GLOBAL_V6};
use super::*;

fn open_ports() -> EgressPolicy {
    EgressPolicy {
        allow_http: true,
        allowed_ports: AllowedPorts::Any,
        ..EgressPolicy::production()
    }
}

fn check(policy: &EgressPolicy, text: &str) -> Result<(), Option<UrlRejection>> {
    let url = Url::parse(text).map_err(|_| None)?;
    policy.check_url(&url).map(|_| ()).map_err(Some)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_spelling_of_an_internal_address_is_refused() {
    let spellings = [
        "http://127.1/",
        "http://127.0.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://0x/",
        "http://00000000000000000000/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://１２７.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "http:\\\\127.0.0.1\\x",
        " http://127.0.0.1/ ",
        "ht\ttp://127.0.\n0.1/",
        "http://169.254.169.254./",
        "http://10.0.0.1/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[::5efe:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::1]/",
        "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
        "http://[fd00:ec2::254]/",
        "http://[fec0::1]/",
        "http://[fe80::1]/",
        "http://[ff02::1]/",
        "http://[5f00::1]/",
        "http://[3fff::1]/",
        "http://[100:0:0:1::1]/",
        "http://[2606:4700::5efe:7f00:1]/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com#@127.0.0.1/x",
    ];
    for text in spellings {
        let result = check(&open_ports(), text);
        let fragment_only = text.starts_with("http://example.com#");
        assert_eq!(
            matches!(result, Err(Some(UrlRejection::Address(_)))),
            !fragment_only,
            "{text}: {result:?}"
        );
    }
}

#[test]
fn internal_and_malformed_names_are_refused() {
    let long_label = format!("http://{}.com/", "a".repeat(64));
    let long_name = format!("http://{}com/", "a.".repeat(126));
    let names = [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "http://local\u{ad}host/",
        "http://%6c%6f%63alhost/",
        "http://metadata.google.internal./",
        "http://kafka/",
        "http://cassandra/",
        "http://a.b.svc.cluster.local/",
        "http://example..com/",
        "http://.example.com/",
        "http://printer.home.arpa/",
        "http://app.localhost/",
        "http://a!b.com/",
        "http://example.com../",
        &long_label,
        &long_name,
    ];
    for text in names {
        let result = check(&open_ports(), text);
        assert!(matches!(result, Err(Some(UrlRejection::Name(_)))), "{text}: {result:?}");
    }
}

#[test]
fn a_public_looking_name_passes_the_advice_and_is_left_to_the_dial() {
    for text in ["http://127.0.0.1.nip.io/", "https://example.com/", "https://EXAMPLE.com./a?b#c"] {
        assert_eq!(check(&open_ports(), text), Ok(()), "{text}");
    }
    let url = Url::parse("https://EXAMPLE.com./a?b#c").unwrap();
    let policy = EgressPolicy::production();
    let target = policy.check_url(&url).unwrap();
    assert_eq!(
        target,
        Target { scheme: UrlScheme::Https, host: Host::Domain("example.com"), port: 443 }
    );
    assert_eq!(stored_form(url).as_str(), "https://example.com./a?b");
}

#[test]
fn what_must_not_parse_does_not() {
    let texts = [
        "http://[::1%25lo]/",
        "http://[127.0.0.1]/",
        "http://::1/",
        "http://example.com%40127.0.0.1/",
        "http://example.com:65536/",
        "http://example.com:80:443/",
        "http://",
        "//example.com/",
        "",
    ];
    for text in texts {
        assert_eq!(check(&open_ports(), text), Err(None), "{text}");
    }
}

#[test]
fn userinfo_is_refused_wherever_it_hides() {
    let texts = [
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1@example.com/",
        "http://a@b@127.0.0.1/",
        "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/",
        "https://user:password@example.com/",
    ];
    for text in texts {
        assert_eq!(check(&open_ports(), text), Err(Some(UrlRejection::Userinfo)), "{text}");
    }
    let url = Url::parse("http://example.com\\@127.0.0.1/").unwrap();
    assert_eq!(url.host_str(), Some("example.com"));
}

#[test]
fn ports_and_schemes_outside_the_lists_are_refused() {
    let policy = EgressPolicy { allow_http: true, ..EgressPolicy::production() };
    for port in [0, 22, 25, 6379, 9042, 9092, 444] {
        let result = check(&policy, &format!("http://example.com:{port}/"));
        assert!(matches!(result, Err(Some(UrlRejection::Port { .. }))), "{port}: {result:?}");
    }
    for url in ["http://example.com/", "https://example.com/", "https://example.com:8443/"] {
        assert_eq!(check(&policy, url), Ok(()), "{url}");
    }
    assert!(check(&EgressPolicy::dev(), "http://example.com:0/").is_err());
    let schemes = [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "ws://example.com/",
        "unix:/run/x",
        "data:text/plain,x",
        "javascript:alert(1)",
        "blob:http://127.0.0.1/",
    ];
    for text in schemes {
        let result = check(&policy, text);
        assert!(matches!(result, Err(Some(UrlRejection::Scheme { .. }))), "{text}: {result:?}");
    }
    let result = check(&EgressPolicy::production(), "http://example.com/");
    let message = result.unwrap_err().unwrap().to_string();
    assert_eq!(message, "url scheme \"http\" is not allowed: use https");
}

#[test]
fn a_url_over_2048_bytes_is_refused() {
    let of = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
    assert_eq!(check(&EgressPolicy::production(), &of(2_048)), Ok(()));
    for length in [2_049, 70_000] {
        let rejection = Err(Some(UrlRejection::TooLong(length)));
        assert_eq!(check(&EgressPolicy::production(), &of(length)), rejection);
    }
}

#[test]
fn dev_reaches_loopback_and_nothing_else_internal() {
    let dev = EgressPolicy::dev();
    for text in [
        "http://localhost:3000/",
        "http://127.0.0.1:9/",
        "http://[::1]:3000/",
        "http://app.localhost/",
    ] {
        assert_eq!(check(&dev, text), Ok(()), "{text}");
    }
    for text in [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://kafka/",
    ] {
        assert!(check(&dev, text).is_err(), "{text}");
    }
}

#[test]
fn operator_networks_open_all_but_metadata_and_our_own() {
    let mut policy = open_ports();
    policy.allowed_cidrs =
        ["10.0.0.0/8", "169.254.0.0/16", "::/0"].map(|net| net.parse().unwrap()).into();
    policy.denied = vec!["10.0.0.9:9092".parse().unwrap()];
    let verdict = |policy: &EgressPolicy, text: &str, port| {
        policy.check_addr(ip(text), port).map_err(|blocked| blocked.reason)
    };
    assert_eq!(verdict(&policy, "10.1.2.3", 80), Ok(()));
    assert_eq!(verdict(&policy, "10.0.0.9", 80), Ok(()));
    assert_eq!(verdict(&policy, "10.0.0.9", 9092), Err(BlockReason::Own));
    assert_eq!(verdict(&policy, "::ffff:10.0.0.9", 9092), Err(BlockReason::Own));
    assert_eq!(verdict(&policy, "192.168.0.1", 80), Err(BlockReason::Private));
    assert_eq!(verdict(&policy, "::ffff:192.168.0.1", 80), Err(BlockReason::Private));
    for metadata in
        ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "2002:a9fe:a9fe::1"]
    {
        assert_eq!(verdict(&policy, metadata, 80), Err(BlockReason::Metadata), "{metadata}");
    }
    policy.allow_metadata = true;
    assert_eq!(verdict(&policy, "169.254.169.254", 80), Ok(()));
    assert_eq!(verdict(&policy, "168.63.129.16", 80), Err(BlockReason::Metadata));
}

#[test]
fn exempt_name_suffixes_match_whole_labels() {
    let mut policy = open_ports();
    policy.allowed_name_suffixes = vec![".svc.cluster.local".to_owned(), "kafka".to_owned()];
    assert_eq!(check(&policy, "http://orders.shop.svc.cluster.local/"), Ok(()));
    assert_eq!(check(&policy, "http://kafka/"), Ok(()));
    assert!(check(&policy, "http://evilsvc.cluster.local/").is_err());
    assert!(check(&policy, "http://notkafka/").is_err());
}

#[test]
fn public_addresses_are_allowed() {
    let policy = EgressPolicy::production();
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.0.1",
        "100.128.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "192.0.1.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:200::1",
        "2001:4860:4860::8888",
    ] {
        assert_eq!(policy.check_addr(ip(text), 443), Ok(()), "{text}");
    }
}

#[test]
fn operator_nat64_prefixes_are_read_as_rfc_6052_says() {
    // The table of RFC 6052 §2.4, with 192.0.2.33 inside; denied as a documentation address, so Reserved.
    let rows = [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ];
    for (prefix, address) in rows {
        let mut policy = EgressPolicy::production();
        policy.nat64_prefixes = vec![prefix.parse().unwrap()];
        policy.allowed_cidrs = vec!["192.0.2.33/32".parse().unwrap()];
        assert_eq!(policy.check_addr(ip(address), 443), Ok(()), "{address}");
        policy.allowed_cidrs = vec!["::/0".parse().unwrap()];
        assert!(policy.check_addr(ip(address), 443).is_err(), "{address}");
        policy.allowed_cidrs.clear();
        assert!(policy.check_addr(ip(address), 443).is_err(), "{address}");
    }
}

fn address_in_v4() -> impl Strategy<Value = Ipv4Addr> {
    (proptest::sample::select(DENIED_V4.to_vec()), any::<u32>()).prop_map(|((net, _), bits)| {
        Ipv4Addr::from(u32::from(net.network()) | (bits & u32::from(net.hostmask())))
    })
}

fn address_in_v6() -> impl Strategy<Value = Ipv6Addr> {
    (proptest::sample::select(DENIED_V6.to_vec()), any::<u128>()).prop_map(|((net, _), bits)| {
        Ipv6Addr::from(u128::from(net.network()) | (bits & u128::from(net.hostmask())))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_address_of_a_denied_block_is_refused(a in address_in_v4(), b in address_in_v6(), port in 1_u16..) {
        let policy = open_ports();
        prop_assert!(policy.check_addr(a.into(), port).is_err());
        prop_assert!(policy.check_addr(b.into(), port).is_err());
        prop_assert!(policy.check_addr(a.to_ipv6_mapped().into(), port).is_err());
        prop_assert!(policy.check_addr(a.to_ipv6_compatible().into(), port).is_err());
    }

    #[test]
    fn every_ipv6_address_outside_global_unicast_is_refused(bits in any::<u128>()) {
        let address = Ipv6Addr::from(bits);
        prop_assume!(!GLOBAL_V6.contains(&address));
        prop_assert!(open_ports().check_addr(address.into(), 443).is_err());
    }

    #[test]
    fn nat64_has_the_verdict_of_the_address_inside(bits in any::<u32>(), denied in address_in_v4()) {
        let policy = EgressPolicy { nat64: true, ..open_ports() };
        for v4 in [Ipv4Addr::from(bits), denied] {
            let nat64 = Ipv6Addr::from(0x0064_ff9b_u128 << 96 | u128::from(u32::from(v4)));
            prop_assert_eq!(policy.check_addr(nat64.into(), 443).is_ok(), policy.check_addr(v4.into(), 443).is_ok());
            prop_assert!(open_ports().check_addr(nat64.into(), 443).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_policy_panic(text in "(https?://)?[\\PC]{0,60}") {
        if let Ok(url) = Url::parse(&text) {
            let _ = EgressPolicy::production().check_url(&url);
            let _ = EgressPolicy::dev().check_url(&url);
        }
    }
}
