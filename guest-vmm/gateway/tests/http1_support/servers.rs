//! nginx, lighttpd and apache2 as Debian configures them, on one tree of files.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; it stops when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It leads a process group of its own, so that its children go along.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// A directory that is removed again.
pub(crate) struct Site(pub(crate) PathBuf);

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HELLO: &str = "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello %s\\n' \"$QUERY_STRING\"\n";
const ECHO: &str = "#!/bin/sh\nf=$(mktemp)\ncat >$f\n\
    printf 'Content-Type: application/octet-stream\\r\\n\\r\\n'\ncat $f\nrm $f\n";
const ENV: &str = "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n\
    echo \"$REQUEST_METHOD $CONTENT_TYPE $HTTP_ACCEPT $HTTP_COOKIE $HTTP_X_A $HTTP_HOST\"\n";
const MOVED: &str =
    "#!/bin/sh\nprintf 'Status: 302 Found\\r\\nLocation: /index.html\\r\\n\\r\\n'\n";
const BIG: &str =
    "#!/bin/sh\nprintf 'Content-Type: a/b\\r\\n\\r\\n'\nhead -c 300000 /dev/zero | tr '\\0' x\n";

impl Site {
    pub(crate) fn create(name: &str) -> Site {
        let dir = std::env::temp_dir().join(format!("resh-{name}-{}", std::process::id()));
        let site = Site(dir);
        let root = site.root();
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::create_dir_all(root.join("no-index")).unwrap();
        fs::create_dir_all(root.join("cgi-bin")).unwrap();
        let noise: Vec<u8> =
            (0..2_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (path, bytes) in [
            ("index.html", &b"<!doctype html><p>hello\n"[..]),
            ("hello.txt", b"hello\n"),
            ("a b.txt", b"space\n"),
            ("caf\u{e9}.txt", b"utf-8\n"),
            ("a+b&c=d;e,f.txt", b"odd\n"),
            ("style.css", b"p { color: red }\n"),
            ("app.js", b"alert(1)\n"),
            ("data.json", b"{}\n"),
            ("data.xml", b"<a/>\n"),
            ("icon.ico", b"ico"),
            ("picture.svg", b"<svg/>\n"),
            ("font.woff2", b"wf"),
            ("unknown.zzz", b"?"),
            ("noextension", b"?"),
            ("archive.tar.gz", b"gz"),
            ("0.bin", b""),
            ("1k.bin", &noise[..1024]),
            ("2m.bin", &noise),
            ("dir/index.html", b"<p>dir\n"),
            ("dir/leaf.txt", b"leaf\n"),
            ("no-index/leaf.txt", b"leaf\n"),
            ("forbidden.txt", b"no\n"),
        ] {
            fs::write(root.join(path), bytes).unwrap();
        }
        mode(&root.join("forbidden.txt"), 0o000);
        for (name, text) in
            [("hello", HELLO), ("echo", ECHO), ("env", ENV), ("moved", MOVED), ("big", BIG)]
        {
            let path = root.join("cgi-bin").join(name);
            fs::write(&path, text).unwrap();
            mode(&path, 0o755);
        }
        for dir in [&site.0, &root] {
            mode(dir, 0o755);
        }
        site
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("site")
    }

    /// Starts all three, or says what is missing.
    pub(crate) fn start(&self) -> Result<Vec<Server>, String> {
        for program in ["nginx", "fcgiwrap", "lighttpd", "apache2"] {
            find(program)?;
        }
        Ok(vec![self.nginx(), self.lighttpd(), self.apache()])
    }

    fn home(&self, name: &str) -> PathBuf {
        let home = self.0.join(name);
        fs::create_dir_all(&home).unwrap();
        mode(&home, 0o777);
        home
    }

    fn nginx(&self) -> Server {
        let (d, root, address) = (self.home("nginx"), self.root(), free_address());
        let d = d.display();
        let config = format!(
            "daemon off; {user} worker_processes 1; pid {d}/pid; error_log {d}/error.log;
             events {{ worker_connections 768; }}
             http {{
               sendfile on; tcp_nopush on; types_hash_max_size 2048;
               include /etc/nginx/mime.types; default_type application/octet-stream;
               access_log off; gzip on; client_max_body_size 0;
               client_body_temp_path {d}/body; proxy_temp_path {d}/proxy;
               fastcgi_temp_path {d}/fastcgi; uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
               server {{
                 listen {address} default_server; root {root}; server_name _;
                 index index.html index.htm;
                 location / {{ try_files $uri $uri/ =404; }}
                 location /cgi-bin/ {{
                   include /etc/nginx/fastcgi_params;
                   fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
                   fastcgi_pass unix:{d}/fcgi;
                 }}
               }}
             }}",
            user = if root_user() { "user www-data;" } else { "" },
            root = root.display(),
        );
        fs::write(self.0.join("nginx/conf"), config).unwrap();
        let script = format!(
            "fcgiwrap -c 4 -s unix:{d}/fcgi & while [ ! -S {d}/fcgi ]; do sleep 0.05; done; \
             chmod 777 {d}/fcgi; exec nginx -c {d}/conf"
        );
        spawn("nginx", address, Command::new("sh").arg("-c").arg(script))
    }

    fn lighttpd(&self) -> Server {
        let (d, root, address) = (self.home("lighttpd"), self.root(), free_address());
        let user = "server.username = \"www-data\"\nserver.groupname = \"www-data\"\n";
        let config = format!(
            "server.modules = ( \"mod_indexfile\", \"mod_access\", \"mod_alias\", \"mod_redirect\", \"mod_cgi\" )
server.document-root = \"{root}\"
server.upload-dirs = ( \"{d}\" )
server.errorlog = \"{d}/error.log\"
server.bind = \"{ip}\"
server.port = {port}
{user}server.feature-flags += (\"server.h2proto\" => \"enable\", \"server.h2c\" => \"enable\")
server.http-parseopts = ( \"header-strict\" => \"enable\", \"host-strict\" => \"enable\",
  \"host-normalize\" => \"enable\", \"url-normalize-unreserved\" => \"enable\",
  \"url-normalize-required\" => \"enable\", \"url-ctrls-reject\" => \"enable\",
  \"url-path-2f-decode\" => \"enable\", \"url-path-dotseg-remove\" => \"enable\" )
index-file.names = ( \"index.php\", \"index.html\" )
url.access-deny = ( \"~\", \".inc\" )
static-file.exclude-extensions = ( \".php\", \".pl\", \".fcgi\" )
include_shell \"/usr/share/lighttpd/create-mime.conf.pl\"
$HTTP[\"url\"] =~ \"^/cgi-bin/\" {{ cgi.assign = ( \"\" => \"\" ) }}
server.modules += ( \"mod_dirlisting\", \"mod_staticfile\" )
",
            root = root.display(),
            d = d.display(),
            ip = address.ip(),
            port = address.port(),
            user = if root_user() { user } else { "" },
        );
        fs::write(d.join("conf"), config).unwrap();
        spawn("lighttpd", address, Command::new("lighttpd").arg("-D").arg("-f").arg(d.join("conf")))
    }

    fn apache(&self) -> Server {
        let (d, root, address) = (self.home("apache2"), self.root(), free_address());
        let config = format!(
            "ServerName 127.0.0.1
DefaultRuntimeDir {d}
PidFile {d}/pid
{user}Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
ErrorLog {d}/error.log
IncludeOptional /etc/apache2/mods-enabled/*.load
IncludeOptional /etc/apache2/mods-enabled/*.conf
Listen {address}
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory {root}/>
    Options Indexes FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
AccessFileName .htaccess
<FilesMatch \"^\\.ht\">
    Require all denied
</FilesMatch>
<VirtualHost *:*>
    DocumentRoot {root}
</VirtualHost>
<IfModule !mod_cgid.c>
    LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
</IfModule>
ScriptSock {d}/cgid.socket
<Directory {root}/cgi-bin>
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
",
            d = d.display(),
            root = root.display(),
            user = if root_user() { "User www-data\nGroup www-data\n" } else { "" },
        );
        fs::write(d.join("conf"), config).unwrap();
        let mut command = Command::new("apache2");
        command.arg("-DFOREGROUND").arg("-f").arg(d.join("conf"));
        for name in ["RUN_DIR", "LOCK_DIR", "LOG_DIR"] {
            command.env(format!("APACHE_{name}"), &d);
        }
        spawn("apache2", address, &mut command)
    }
}

fn spawn(name: &'static str, address: SocketAddr, command: &mut Command) -> Server {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let process = command.spawn().expect(name);
    let server = Server { name, address, process };
    let deadline = Instant::now() + Duration::from_secs(15);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{name} does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

fn find(program: &str) -> Result<(), String> {
    let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let found = paths.split(':').any(|dir| Path::new(dir).join(program).exists());
    if found { Ok(()) } else { Err(format!("{program} is not installed")) }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn root_user() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
