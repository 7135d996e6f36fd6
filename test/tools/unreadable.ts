/** Errors that throw themselves when somebody reads them: made anew, as they are thrown. */
export const unreadable: readonly { readonly what: string; readonly make: () => unknown }[] = [
  ...["message", "name", "stack", "code", "error"].map((field) => ({
    what: `a getter of ${field} that throws`,
    make: () =>
      Object.defineProperty(new Error("boom"), field, {
        get() {
          throw new Error("read");
        },
      }),
  })),
  { what: "a message without toString", make: () => ({ message: Object.create(null) }) },
  { what: "a revoked proxy", make: revokedProxy },
];

function revokedProxy(): unknown {
  const { proxy, revoke } = Proxy.revocable(new Error("boom"), {});
  revoke();
  return proxy;
}
