//! The three services, really fetched, started, used, stopped, started again, broken and deleted.
//!
//! Needs the package registries on the first run; afterwards the cache serves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fillstream_deploy::{
    DeployError, Endpoints, Launcher, LocalConfig, Progress, Service, ServiceSource, ServiceState, StopOutcome, down,
    reset, status, up,
};

/// A configuration over a directory of its own, stopped when the test ends, however it ends.
struct Local {
    config: LocalConfig,
    _data: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let launcher =
            Launcher { program: env!("CARGO_BIN_EXE_fillstream-local").into(), args: vec!["serve-clickhouse".into()] };
        let given =
            |name: &str| if Service::ALL.iter().any(|s| s.variable() == name) { None } else { std::env::var_os(name) };
        let mut config = LocalConfig::from_vars(given, launcher).unwrap();
        config.data = data.path().to_owned();
        Self { config, _data: data }
    }

    fn up(&self) -> Result<Endpoints, DeployError> {
        up(&self.config, &|step: Progress<'_>| println!("{step}"))
    }

    fn down(&self) -> Vec<StopOutcome> {
        down(&self.config, &|_| {}).unwrap().iter().map(|stopped| stopped.outcome).collect()
    }

    fn states(&self) -> Vec<ServiceState> {
        status(&self.config).iter().map(|one| one.state).collect()
    }

    fn pid(&self, service: Service) -> i32 {
        let path = self.config.data.join("run").join(format!("{service}.pid"));
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Err(error) = down(&self.config, &|_| {}) {
            eprintln!("{error}");
        }
    }
}

/// Status and body.
fn http(method: &str, url: &str, body: &str) -> (u16, String) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let kind = "application/vnd.schemaregistry.v1+json";
    let length = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.trim().to_owned())
}

fn sql(endpoints: &Endpoints, query: &str) -> String {
    let (status, body) = http("POST", &format!("{}/", endpoints.clickhouse), query);
    assert_eq!(status, 200, "{query}: {body}");
    body
}

/// The number of APIs that the broker offers, by the protocol's first request (ApiVersions, version 0).
fn kafka_apis(endpoints: &Endpoints) -> i32 {
    let mut stream = TcpStream::connect(&endpoints.kafka).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&[0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 9, 0, 1, b't']).unwrap();
    let mut head = [0_u8; 14];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[4..10], [0, 0, 0, 9, 0, 0], "correlation id and no error");
    i32::from_be_bytes(head[10..14].try_into().unwrap())
}

/// The error code of creating topic `t` (CreateTopics, version 2): 0 created, 36 it exists.
fn create_topic(endpoints: &Endpoints) -> i16 {
    let mut stream = TcpStream::connect(&endpoints.kafka).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let topic = [&[0, 1, b't'][..], &1_i32.to_be_bytes(), &1_i16.to_be_bytes(), &[0; 8]].concat();
    let head = [0, 19, 0, 2, 0, 0, 0, 9, 0, 1, b't', 0, 0, 0, 1];
    let request = [&head[..], &topic, &20_000_i32.to_be_bytes(), &[0]].concat();
    stream.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    // Size, correlation id, throttle time, one topic, its name, its error.
    let mut answer = [0_u8; 21];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[12..19], [0, 0, 0, 1, 0, 1, b't']);
    i16::from_be_bytes(answer[19..].try_into().unwrap())
}

fn kill_nine(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(30);
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    while !ended() {
        assert!(Instant::now() < deadline, "{pid} survived");
        std::thread::yield_now();
    }
}

#[test]
fn services_live_through_use_stop_restart_kill_and_reset() {
    let local = Local::new();
    assert_eq!(local.states(), [ServiceState::Stopped; 3]);
    let first = local.up().unwrap();
    assert_eq!(local.states(), [ServiceState::Ready; 3]);
    let pids = Service::ALL.map(|service| local.pid(service));

    assert!(kafka_apis(&first) > 20);
    assert_eq!(create_topic(&first), 0);
    assert!(http("GET", &format!("{}/config", first.registry), "").1.contains("FULL_TRANSITIVE"));
    let versions = format!("{}/subjects/a-value/versions", first.registry);
    let record = |fields: &str| {
        let schema = format!(r#"{{"type":"record","name":"A","fields":[{fields}]}}"#);
        format!(r#"{{"schema":{}}}"#, serde_json::to_string(&schema).unwrap())
    };
    assert_eq!(http("POST", &versions, &record(r#"{"name":"x","type":"long"}"#)).0, 200);
    assert_eq!(http("POST", &versions, &record(r#"{"name":"x","type":"string"}"#)).0, 409, "incompatible");
    sql(&first, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    sql(&first, "INSERT INTO t SELECT number FROM numbers(1000)");

    assert_eq!(local.up().unwrap(), first, "a second up changes nothing");
    assert_eq!(Service::ALL.map(|service| local.pid(service)), pids);

    assert_eq!(local.down(), [StopOutcome::Stopped; 3]);
    assert_eq!(local.states(), [ServiceState::Stopped; 3]);
    assert_eq!(local.down(), [StopOutcome::NotRunning; 3]);
    for service in Service::ALL {
        assert!(!local.config.data.join("run").join(format!("{service}.pid")).exists());
    }

    let second = local.up().unwrap();
    assert_eq!(second, first, "the same addresses");
    assert_eq!(create_topic(&second), 36, "the topic survived");
    assert_eq!(sql(&second, "SELECT sum(a) FROM t"), "499500");
    assert_eq!(http("GET", &versions, ""), (200, "[1]".to_owned()));

    sql(&second, "INSERT INTO t VALUES (500)");
    let kafka_pid = local.pid(Service::Kafka);
    kill_nine(local.pid(Service::ClickHouse));
    assert_eq!(local.states(), [ServiceState::Ready, ServiceState::Ready, ServiceState::Dead]);
    let third = local.up().unwrap();
    assert_eq!(sql(&third, "SELECT sum(a) FROM t"), "500000", "an acknowledged row survives a kill");
    assert_eq!(local.pid(Service::Kafka), kafka_pid, "the living ones are left alone");
    assert!(kafka_apis(&third) > 20);

    external_services_are_probed_and_left_alone(&third);
    a_failing_service_takes_down_what_this_up_started(&third);

    let data = local.config.data.clone();
    fs::write(data.join("mine.txt"), "x").unwrap();
    reset(&local.config, &|_| {}).unwrap();
    assert_eq!(local.states(), [ServiceState::Stopped; 3]);
    let mut left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["lock", "mine.txt"], "only our own folders are deleted");
}

fn external_services_are_probed_and_left_alone(running: &Endpoints) {
    let mut other = Local::new();
    for service in Service::ALL {
        *other.config.source_mut(service) = ServiceSource::External { address: running.of(service).to_owned() };
    }
    assert_eq!(other.up().unwrap(), *running);
    assert_eq!(other.states(), [ServiceState::Ready; 3]);
    assert_eq!(other.down(), [StopOutcome::NotRunning; 3]);
    assert_eq!(other.states(), [ServiceState::Ready; 3], "not ours to stop");
}

/// ClickHouse is given a launcher that dies; the registry and Kafka of the same `up` must not stay behind.
fn a_failing_service_takes_down_what_this_up_started(running: &Endpoints) {
    let mut other = Local::new();
    *other.config.source_mut(Service::Registry) = ServiceSource::External { address: running.registry.clone() };
    let script = "echo 'some start'; echo 'Code: 76. DB::Exception: Cannot lock file'; echo '\tat frame'; exit 3";
    other.config.launcher = Launcher { program: "sh".into(), args: vec!["-c".into(), script.into()] };
    let error = other.up().unwrap_err().to_string();
    let log = other.config.log_file(Service::ClickHouse);
    let expected = "clickhouse died while starting: Code: 76. DB::Exception: Cannot lock file (log: ";
    assert_eq!(error, format!("{expected}{})", log.display()));
    assert!(!error.contains('\n'));
    assert_eq!(other.states(), [ServiceState::Stopped, ServiceState::Ready, ServiceState::Stopped]);
}

#[test]
fn a_taken_port_starts_nothing() {
    let mut local = Local::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    local.config.registry = ServiceSource::Local { port: Some(port) };
    let error = local.up().unwrap_err().to_string();
    assert_eq!(error, format!("registry: port {port} on 127.0.0.1 is taken by another process"));
    assert_eq!(local.states(), [ServiceState::Stopped; 3]);
    assert!(!local.config.service_dir(Service::Kafka).exists(), "nothing was begun");
}

#[test]
fn a_silent_address_is_named() {
    let mut local = Local::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for service in Service::ALL {
        let address = if service == Service::Kafka { free.to_string() } else { format!("http://{free}") };
        *local.config.source_mut(service) = ServiceSource::External { address };
    }
    let error = local.up().unwrap_err();
    assert!(matches!(error, DeployError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
}

/// Runs the real npm against an address where nothing listens.
#[test]
fn a_failing_download_is_one_line_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fillstream-local"))
        .args(["up", "--cache"])
        .arg(cache.path())
        .arg("--data")
        .arg(data.path())
        .env("npm_config_registry", "http://127.0.0.1:9/")
        .env("npm_config_fetch_retries", "0")
        .env("npm_config_cache", cache.path().join("npm"))
        .env("FILLSTREAM_KAFKA", listening())
        .env("FILLSTREAM_REGISTRY", answering())
        .env_remove("FILLSTREAM_CLICKHOUSE")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("fillstream-local: downloading clickhouse 26.7.3-stable.1 failed: "), "{said}");
    assert!(!holds_artifact(cache.path()));
}

fn holds_artifact(cache: &Path) -> bool {
    fs::read_dir(cache).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("clickhouse-"))
}

/// An address that accepts connections until the test process ends.
fn listening() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// An address that answers every request with 200.
fn answering() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut seen = Vec::new();
            let mut byte = [0_u8; 1];
            while !seen.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                seen.extend(byte);
            }
            drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n[]"));
        }
    });
    address
}
