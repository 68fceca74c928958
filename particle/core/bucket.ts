/** Name on the ring of what an app calls `bucket`; neither part has a dot (#Name), so no two apps share one. */
export function bucketOf(app: string, bucket: string): string {
  return `${app}.${bucket}`;
}
