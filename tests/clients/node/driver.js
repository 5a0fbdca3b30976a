'use strict';

// Puts the published Node client under the command of a test: one JSON command a line on stdin, one JSON event a line on stdout.
//
// Nothing of the client is replaced. It tells an application nothing of what the server answered, so acknowledgements are read from the
// log lines it hands to the logger it is given. Left alone, its queue can keep a registration unsent for a minute: a re-check replaces a waiting
// task by a new one, and a task is skipped at its first look. Tests measure a server, so the queue is looked at every 50 ms. Times are those of the monotonic clock that every process of one host shares. Ends when stdin
// closes, so a dead test leaves no driver behind.

const readline = require('readline');
const urllib = require('urllib');
const { RegistryClient } = require('sofa-registry-node');

const QUEUE_LOOK_MS = 50;
const INNER_CLIENT = Symbol.for('ClusterClient#innerClient');
const REGISTERED = '[register] register to server success, %s, %j, %j';

const registrations = new Map();
const latest = new Map();
let client = null;

// One line of ASCII: a lone surrogate has no other spelling that survives a stream of bytes.
function say(event) {
  const json = JSON.stringify(event);
  const line = json.replace(/[\u007f-\uffff]/g, unit => '\\u' + unit.charCodeAt(0).toString(16).padStart(4, '0'));
  process.stdout.write(line + '\n');
}

function now() {
  return Number(process.hrtime.bigint());
}

const logger = {
  debug() {},
  info(format, ...values) {
    if (format === REGISTERED) {
      acknowledged(values[1]);
    } else if (process.env.DRIVER_TRACE) {
      console.error(format, ...values);
    }
  },
  warn(...values) {
    console.error(...values);
  },
  error(...values) {
    console.error(...values);
  },
};

function lookAtQueue() {
  const inner = client._client[INNER_CLIENT];
  if (inner && inner._realClient) {
    inner._realClient.worker.signal();
  }
}

function acknowledged(request) {
  const register = request.obj || request;
  say({
    event: 'acknowledged',
    at: now(),
    class: request.className.split('.').pop(),
    dataId: register.dataId,
    group: register.group,
    eventType: register.eventType,
    version: Number(register.version),
  });
}

const commands = {
  connect(command) {
    client = new RegistryClient({
      config: {
        endpoint: command.host,
        port: command.port,
        zone: command.zone,
        appname: command.app,
        instanceId: command.instance || undefined,
        dataCenter: command.dataCenter || 'DefaultDataCenter',
      },
      logger,
      httpclient: urllib,
    });
    client.on('error', error => console.error(error));
    setInterval(lookAtQueue, QUEUE_LOOK_MS);
  },

  publish(command) {
    registrations.set(command.name, { kind: 'publisher', of: registration(command) });
    client.register({ ...registration(command), data: command.values });
  },

  republish(command) {
    client.register({ ...named(command).of, data: command.values });
  },

  subscribe(command) {
    const of = { ...registration(command), scope: command.scope || 'zone' };
    registrations.set(command.name, { kind: 'subscriber', of });
    client.subscribe({ ...of }, data => {
      latest.set(command.name, data);
      say(list('data', command.name, data));
    });
  },

  configure(command) {
    const of = registration(command);
    registrations.set(command.name, { kind: 'configurator', of });
    client.subscribeConfig({ ...of }, data => {
      latest.set(command.name, data);
      say(value('config', command.name, data));
    });
  },

  unregister(command) {
    const { kind, of } = named(command);
    if (kind === 'publisher') {
      client.unregister({ ...of });
    } else if (kind === 'subscriber') {
      client.unSubscribe({ ...of });
    } else {
      client.unSubscribeConfig({ ...of });
    }
  },

  peek(command) {
    const data = latest.get(command.name);
    say(named(command).kind === 'subscriber' ? list('peek', command.name, data) : value('peek', command.name, data));
  },
};

function registration(command) {
  return { dataId: command.dataId, group: command.group || 'DEFAULT_GROUP' };
}

function named(command) {
  const register = registrations.get(command.name);
  if (!register) {
    throw new Error(`nothing is named ${command.name}`);
  }
  return register;
}

function list(event, name, data) {
  return { event, at: now(), name, localZone: data ? data.localZone : null, zones: data ? data.zoneData : null };
}

function value(event, name, data) {
  const text = data && data.data !== undefined ? data.data : null;
  return { event, at: now(), name, value: text };
}

readline.createInterface({ input: process.stdin, terminal: false })
  .on('line', line => {
    const command = JSON.parse(line);
    const at = now();
    try {
      const perform = commands[command.do];
      if (!perform) {
        throw new Error(`unknown command ${command.do}`);
      }
      perform(command);
      say({ event: 'done', at, id: command.id, message: null });
    } catch (error) {
      say({ event: 'failed', at, id: command.id, message: String(error) });
    }
  })
  .on('close', () => process.exit(0));

say({ event: 'ready', at: now() });
