/**
 * Lets many wait for one source with one listener: Node takes more than ten for a leak, and warns. `listen` begins to
 * listen to a source, and returns what ends that.
 */
export function oneListener<Source>(listen: (source: Source, tell: () => void) => () => void) {
  const heard = new Map<Source, { readonly stops: Set<() => void>; readonly end: () => void }>();
  return (source: Source, stop: () => void): (() => void) => {
    const listening = heard.get(source) ?? begin(source);
    listening.stops.add(stop);
    return () => {
      if (!listening.stops.delete(stop) || listening.stops.size > 0) return;
      listening.end();
      heard.delete(source);
    };
  };

  function begin(source: Source) {
    const stops = new Set<() => void>();
    const tell = () => {
      for (const stop of [...stops]) stop();
    };
    const listening = { stops, end: listen(source, tell) };
    heard.set(source, listening);
    return listening;
  }
}
