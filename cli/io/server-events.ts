/** Server-sent events as they arrive (HTML Standard §9.2.6). */

export interface ServerEvent {
  event: string;
  data: string;
  id?: string;
}

/** Reads an event stream to its end. Comments and fields without meaning here are passed over. */
export async function* serverEvents(
  chunks: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let fields = noFields();
  for await (const chunk of chunks) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() as string;
    for (const line of lines) {
      if (line === '') {
        if (fields.data.length > 0) yield finished(fields);
        fields = noFields();
        continue;
      }
      const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === 'data') fields.data.push(value);
      else if (name === 'event') fields.event = value;
      else if (name === 'id') fields.id = value;
    }
  }
}

interface Fields {
  event: string;
  data: string[];
  id?: string;
}

function noFields(): Fields {
  return { event: 'message', data: [] };
}

function finished({ event, data, id }: Fields): ServerEvent {
  return { event, data: data.join('\n'), ...(id === undefined ? {} : { id }) };
}
