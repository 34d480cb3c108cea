// Files that are not uploaded yet, kept by the browser so that a reload of the page does not lose them.

const DAY = 86_400_000; // what is older belongs to a page that was closed

export function keepFile(id, file) {
  return inStore((store) => {
    store.index("at").openCursor(IDBKeyRange.upperBound(Date.now() - DAY)).onsuccess = ({ target: { result: row } }) => {
      row?.delete();
      row?.continue();
    };
    return store.put({ id, file, at: Date.now() });
  });
}

export async function keptFile(id) {
  return (await inStore((store) => store.get(id)))?.file ?? null;
}

export function forgetFile(id) {
  return inStore((store) => store.delete(id));
}

/** The result of one request; null if the browser keeps nothing, as in some private windows. */
async function inStore(act) {
  try {
    const database = await settled(open());
    try {
      return await settled(act(database.transaction("files", "readwrite").objectStore("files")));
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}

function open() {
  const request = indexedDB.open("unsent-files", 1);
  request.onupgradeneeded = () =>
    request.result.createObjectStore("files", { keyPath: "id" }).createIndex("at", "at");
  return request;
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
