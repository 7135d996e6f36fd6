const user = { id: 1, is_bot: false, first_name: "User" };
const chat = { id: 1, type: "private", first_name: "User" };
const group = { id: -5, type: "supergroup", title: "Group" };
const member = { user, status: "member" };

/**
 * One update of every kind that a busy bot gets, with the fields that handlers look at; `number` makes it one of its own,
 * `date` is in seconds since 1970. For `BotApi.push`.
 */
export const updateKinds: Readonly<Record<string, (number: number, date: number) => object>> = {
  message: (number, date) => ({ message: textMessage(number, date) }),
  edited_message: (number, date) => ({
    edited_message: { ...textMessage(number, date - 60), edit_date: date },
  }),
  channel_post: (number, date) => ({
    channel_post: {
      message_id: number,
      date,
      chat: { id: -7, type: "channel", title: "Channel" },
      text: "post",
    },
  }),
  inline_query: (number) => ({ inline_query: { id: `${number}`, from: user, query: "find", offset: "" } }),
  chosen_inline_result: (number) => ({
    chosen_inline_result: { result_id: `${number}`, from: user, query: "find" },
  }),
  callback_query: (number) => ({
    callback_query: { id: `${number}`, from: user, chat_instance: "1", data: `press ${number}` },
  }),
  shipping_query: (number) => ({
    shipping_query: { id: `${number}`, from: user, invoice_payload: "x", shipping_address: {} },
  }),
  pre_checkout_query: (number) => ({
    pre_checkout_query: {
      id: `${number}`,
      from: user,
      currency: "XTR",
      total_amount: 1,
      invoice_payload: "x",
    },
  }),
  poll: (number) => ({
    poll: { id: `${number}`, question: "?", options: [], total_voter_count: number, is_closed: false },
  }),
  poll_answer: (number) => ({ poll_answer: { poll_id: `${number}`, user, option_ids: [0] } }),
  my_chat_member: (_number, date) => ({
    my_chat_member: { chat: group, from: user, date, old_chat_member: member, new_chat_member: member },
  }),
  chat_join_request: (_number, date) => ({
    chat_join_request: { chat: group, from: user, user_chat_id: 1, date },
  }),
  message_reaction: (number, date) => ({
    message_reaction: { chat: group, message_id: number, user, date, old_reaction: [], new_reaction: [] },
  }),
};

function textMessage(number: number, date: number): object {
  return { message_id: number, date, chat, from: user, text: `message ${number}` };
}
