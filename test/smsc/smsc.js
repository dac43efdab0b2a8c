// A message centre on npm's smpp, which knows nothing of our code. It takes commands, a JSON line
// each, on standard input, and tells what it sees on standard output.
const smpp = require('smpp');
const readline = require('readline');

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
let mood = 'accept';
let taken = 0;
const sessions = new Set();

const concat = (udh) => {
  for (const element of udh || []) {
    if (element[0] === 0 && element[1] === 3) return [...element.slice(2, 5)];
  }
  return [0, 0, 0];
};

const server = smpp.createServer({}, (session) => {
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
  session.on('error', () => session.destroy());
  session.on('bind_transceiver', (pdu) => {
    if (mood === 'hang') return;
    if (pdu.system_id !== process.argv[2] || pdu.password !== process.argv[3]) {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }), () => session.close());
      return;
    }
    session.send(pdu.response());
  });
  session.on('enquire_link', (pdu) => mood === 'hang' || session.send(pdu.response()));
  session.on('unbind', (pdu) => { say({ unbound: 1 }); session.send(pdu.response()); session.close(); });
  session.on('deliver_sm_resp', () => say({ told: 1 }));
  session.on('submit_sm', (pdu) => {
    if (mood === 'hang') return;
    if (mood === 'cut') { session.destroy(); return; }
    if (mood === 'bad') { session.send(pdu.response({ command_status: smpp.ESME_RINVDSTADR })); return; }
    if (mood === 'busy') { session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED })); return; }
    taken++;
    say({ part: {
      From: pdu.source_addr, FromType: pdu.source_addr_ton, FromPlan: pdu.source_addr_npi,
      To: pdu.destination_addr, ToType: pdu.dest_addr_ton, ToPlan: pdu.dest_addr_npi,
      Coding: pdu.data_coding, ESM: pdu.esm_class, Receipt: pdu.registered_delivery,
      Ref: pdu.user_message_reference, Concat: concat(pdu.short_message.udh),
      Validity: String(pdu.validity_period), Text: pdu.short_message.message,
    } });
    session.send(pdu.response({ message_id: 'm_' + taken.toString(16).padStart(4, '0') }));
  });
});

server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  if (command.mood) mood = command.mood;
  if (command.cut) sessions.forEach((s) => s.destroy());
  if (command.receipt) {
    const fields = { esm_class: 4, short_message: Buffer.from(command.receipt.text), source_addr: '4915112345678', destination_addr: '12345' };
    if (command.receipt.id) fields.receipted_message_id = command.receipt.id;
    if (command.receipt.state) fields.message_state = command.receipt.state;
    sessions.forEach((s) => s.deliver_sm(fields));
  }
  say({ done: 1 });
}).on('close', () => process.exit(0));
