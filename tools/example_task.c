/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The smallest useful task: counts the lines and words of one connection. Run it in a slot:
 *     cc example_task.c -o example_task $(pkg-config --cflags --libs libtaskmem)
 *     tmctl add words pool=8M && tmctl run words ./example_task listen tcp:0.0.0.0:7000
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <taskmem.h>

struct counts {
	unsigned long long bytes, lines, words;
	bool is_in_word, is_over;
	int error;
};

/* Bytes are already in a huge page of this slot. The buffer is ours until it is released;
 * keeping it (say, in a queue to another thread) holds back the sender, and nothing else. */
static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	const char *text = (const char *)buffer->data + offset;
	struct counts *counts = userdata;

	(void)channel;
	for (uint32_t i = 0; i < length; i++) {
		bool is_space = text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r');

		counts->words += !is_space && !counts->is_in_word;
		counts->is_in_word = !is_space;
		counts->lines += text[i] == '\n';
	}
	counts->bytes += length;
	tm_buffer_release(buffer);
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	struct counts *counts = userdata;

	(void)channel;
	counts->error = error; /* 0 at the end of the stream */
	counts->is_over = true;
}

/* After "tmctl set words pool=4M". The library gives pages back once their buffers are released;
 * a task that keeps buffers for long would release some now. */
static void on_resize(struct tm_slot *slot, uint32_t old_chunks, uint32_t new_chunks,
		      void *userdata)
{
	(void)slot;
	(void)userdata;
	fprintf(stderr, "pool: %u -> %u pages of 2 MiB\n", old_chunks, new_chunks);
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-error));
	return 1;
}

int main(int argc, char *argv[])
{
	const struct tm_handlers handlers = { .size = sizeof(handlers),
					      .data = on_data,
					      .close = on_close };
	struct counts counts = { 0 };
	struct tm_slot *slot;
	struct tm_pool *pool;
	struct tm_engine *engine;
	struct tm_channel *channel;
	int r;

	if (argc != 3 || (strcmp(argv[1], "listen") != 0 && strcmp(argv[1], "connect") != 0))
		return fail("usage: example_task listen|connect ADDRESS", -EINVAL);
	r = tm_slot_attach(NULL, &slot); /* the slot this process runs in */
	if (r < 0)
		return fail("attach", r);
	tm_slot_set_resize_handler(slot, on_resize, NULL);
	r = tm_pool_open(slot, "words", 32 << 10, 16, 0, &pool); /* 32 KiB each, at least 16 */
	if (r < 0)
		return fail("pool", r);
	r = tm_engine_new(pool, NULL, &handlers, &counts, &engine);
	if (r < 0)
		return fail("engine", r);
	r = strcmp(argv[1], "listen") == 0 ? tm_engine_listen(engine, argv[2])
					   : tm_engine_connect(engine, argv[2], &channel);
	while (r >= 0 && !counts.is_over)
		r = tm_engine_run(engine, -1);
	tm_engine_free(engine);
	tm_pool_close(pool);
	tm_slot_detach(slot);
	if (r < 0 || counts.error < 0)
		return fail(argv[2], r < 0 ? r : counts.error);
	printf("%llu bytes, %llu lines, %llu words\n", counts.bytes, counts.lines, counts.words);
	return 0;
}
