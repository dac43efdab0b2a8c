-- +goose Up
-- What keeps text messages from being pumped.

-- guard: countries that accounts' numbers are of; '-' stands there once they were looked through
CREATE TABLE guard_country (
    country    TEXT PRIMARY KEY,
    learned_at BIGINT NOT NULL
);

-- guard: what messages cost, in millionths of the price table's currency
CREATE TABLE guard_spend (
    hour    BIGINT NOT NULL,
    country TEXT NOT NULL,
    micros  BIGINT NOT NULL,
    PRIMARY KEY (hour, country)
);
