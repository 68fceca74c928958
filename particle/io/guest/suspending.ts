/** Host functions that may suspend their guest (JSPI), as jco names them. All others answer at once. */
export const SUSPENDING: readonly string[] = [
  'wasi:io/poll#poll',
  'wasi:io/poll#[method]pollable.block',
  'wasi:keyvalue/store#[method]bucket.get',
  'wasi:keyvalue/store#[method]bucket.set',
  'wasi:keyvalue/store#[method]bucket.delete',
  'wasi:keyvalue/store#[method]bucket.exists',
  'wasi:keyvalue/store#[method]bucket.list-keys',
];
