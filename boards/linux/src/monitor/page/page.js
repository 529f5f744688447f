'use strict';
// Shows status.json, once a second. Text from it is only ever set as text.

const COLOURS = {
  healthy: 'good', serving: 'good', voting: 'good',
  degraded: 'warn', starting: 'warn', joining: 'warn', suspect: 'warn', absent: 'warn',
  backing_off: 'warn', restarting: 'warn', catching_up: 'warn', aside: 'warn', excluded: 'warn',
  stopped: 'bad', no_quorum: 'bad', condemned: 'bad',
};
const at = (id) => document.getElementById(id);
const words = (name) => (name === null ? '' : name.replaceAll('_', ' '));

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit++; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

function shown(hex) {
  const bytes = (hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
  const code = document.createElement('code');
  code.textContent = bytes.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '·')).join('');
  code.title = hex.replace(/../g, '$& ');
  return code;
}

function state(name) {
  const span = document.createElement('span');
  span.textContent = words(name);
  span.className = COLOURS[name] ?? '';
  return span;
}

function fill(id, rows, none) {
  const body = at(id);
  body.replaceChildren();
  for (const cells of rows.length ? rows : [[none]]) {
    const row = body.insertRow();
    for (const cell of cells) row.insertCell().append(cell);
  }
}

function show(s) {
  document.title = `${s.appliance}: ${s.health}`;
  at('name').textContent = s.appliance;
  at('health').replaceChildren(state(s.health));
  at('summary').textContent = `${s.sessions_open} of ${s.sessions_limit} sessions open, ` +
    `${s.sessions_draining} draining; ${s.network.refused} connections refused; up ${s.uptime_s} s`;
  fill('services', s.services.map((v) => [v.name, v.listen, v.protocol, state(v.state),
    `${v.voting} of ${v.replicas.length}`, v.quorum, v.sessions_open, v.sessions, v.no_quorum,
    v.refused, size(v.request_bytes), size(v.reply_bytes)]), 'none');
  fill('replicas', s.services.flatMap((v) => v.replicas.map((r, index) => {
    const d = s.replicas[index];
    const why = (d.reason && d.state !== 'condemned' ? 'was: ' : '') + words(d.reason);
    return [v.name, r.name, r.address, state(r.state), why, d.generation, d.sessions,
      d.divergences, d.evictions, d.resets];
  })), 'none');
  fill('disputes', s.disputes.toReversed().map((d) => [d.number,
    new Date(d.time_s * 1000).toISOString().replace('.000Z', 'Z'), d.service,
    `${d.session}.${d.session_generation}`, d.replica_name, words(d.kind), d.offset,
    shown(d.expected), shown(d.found)]), 'none');
}

async function refresh() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
  } catch (error) {
    at('health').textContent = 'the appliance does not answer';
    at('health').className = 'bad';
    return setTimeout(refresh, 3000);
  }
  at('health').className = '';
  setTimeout(refresh, 1000);
}

refresh();
