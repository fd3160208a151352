/* The routes about the process itself. */
#include "control/api.h"

#include "common/metrics.h"

void api_healthz(struct call *c)
{
    call_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

void api_readyz(struct call *c)
{
    const struct control_conf *conf = &c->control->conf;
    const char *halted = conf->halted ? conf->halted(conf->status_ctx) : NULL;
    if (halted)
        call_fail(c, API_NOT_READY, "metadata halted: %s", halted);
    else if (c->control->ready)
        call_json(c, 200, json_pack("{s:s}", "status", "ready"));
    else
        call_fail(c, API_NOT_READY, NULL);
}

void api_metrics(struct call *c)
{
    struct sbuf text = {0};
    metrics_text(&text);
    if (text.err)
        call_fail(c, API_INTERNAL, NULL);
    else
        call_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", (struct str){text.p, text.len});
    sbuf_fini(&text);
}

void api_openapi(struct call *c)
{
    struct sbuf *doc = &c->control->openapi;
    if (doc->len == 0 && openapi_text(doc))
        call_fail(c, API_INTERNAL, NULL);
    else
        call_text(c, 200, "application/json", (struct str){doc->p, doc->len});
}

void api_status(struct call *c)
{
    struct sbuf text = {0};
    if (c->control->conf.status)
        c->control->conf.status(c->control->conf.status_ctx, &text);
    else
        sbuf_puts(&text, "{}");
    if (text.err)
        call_fail(c, API_INTERNAL, NULL);
    else
        call_text(c, 200, "application/json", (struct str){text.p, text.len});
    sbuf_fini(&text);
}
