"""Auctions as pure rules: no Beam, no Kafka, no clock but the log's."""
