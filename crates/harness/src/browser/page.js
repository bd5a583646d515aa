// Writes down everything that an EventSource says: [time, "open"], [time, "error"], and
// [time, type, lastEventId, units, hash, data of the hub's own events].
const [url, types] = arguments;
const record = { entries: [], events: 0, opens: 0 };
const note = (...entry) => record.entries.push([performance.now(), ...entry]);
const source = new EventSource(url);
source.onopen = () => { record.opens += 1; note("open"); };
source.onerror = () => note("error", source.readyState);
const hash = (text) => {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
};
for (const type of types) {
  source.addEventListener(type, (event) => {
    const own = type.startsWith("tidewire.");
    if (!own) record.events += 1;
    note(event.type, event.lastEventId, event.data.length, hash(event.data), own ? event.data : "");
  });
}
window.tidewireTest = { record, source };
return performance.now();
