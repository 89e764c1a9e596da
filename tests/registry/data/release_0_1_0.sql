BEGIN TRANSACTION;
CREATE TABLE agent (
	agent_id VARCHAR(64) NOT NULL, 
	agent_name VARCHAR(128) NOT NULL, 
	agent_type VARCHAR(24) NOT NULL, 
	role_id VARCHAR(64) NOT NULL, 
	policy_profile TEXT NOT NULL, 
	organisation VARCHAR(64) DEFAULT 'internal' NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (agent_id), 
	CONSTRAINT ck_agent_agent_id_length CHECK (length(agent_id) <= 64), 
	CONSTRAINT ck_agent_agent_name_length CHECK (length(agent_name) <= 128), 
	CONSTRAINT ck_agent_agent_type_enum CHECK (agent_type IN ('l2_orchestrator', 'skill_agent', 'human_proxy', 'evaluator')), 
	CONSTRAINT ck_agent_role_id_length CHECK (length(role_id) <= 64), 
	CONSTRAINT ck_agent_organisation_length CHECK (length(organisation) <= 64), 
	CONSTRAINT ck_agent_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_agent_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "agent" VALUES('AG-ORCH-001','Orchestrator','l2_orchestrator','IT-M-001','{"skills":["SK-API-007"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-DOC-001','Document agent','skill_agent','FA-IC-001','{"skills":["SK-OCR-001"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-RULES-001','Rules agent','skill_agent','SEC-M-001','{"skills":["SK-LOGIC-003","SK-NLP-013"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-ERP-001','Records agent','skill_agent','FA-IC-001','{"skills":["SK-ERP-002"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-COMM-001','Notification agent','skill_agent','IT-M-001','{"skills":["SK-COMM-005"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-HCM-001','HR records agent','skill_agent','HR-IC-001','{"skills":["SK-HCM-006"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-IAM-001','Access agent','skill_agent','IT-IC-001','{"skills":["SK-IT-008"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-DATA-001','Data agent','skill_agent','DA-M-001','{"skills":["SK-ETL-011","SK-ML-012","SK-VIZ-014"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-SYNTH-001','Synthesis agent','skill_agent','DA-M-001','{"skills":["SK-GEN-009","SK-GEN-010"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-REFLECT-001','Reflection evaluator','evaluator','DA-M-001','{"skills":[]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-HUMAN-001','Handoffs to people','human_proxy','FA-M-001','{"skills":["SK-COMM-004"]}','internal','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "agent" VALUES('AG-EXTERNAL','Whoever acted in an imported history','human_proxy','DA-M-001','{"skills":["SK-EXT-000"]}','external','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE batch (
	batch_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	source VARCHAR(512) NOT NULL, 
	records_read BIGINT DEFAULT 0 NOT NULL, 
	records_accepted BIGINT DEFAULT 0 NOT NULL, 
	records_rejected BIGINT DEFAULT 0 NOT NULL, 
	records_duplicate BIGINT DEFAULT 0 NOT NULL, 
	months TEXT DEFAULT '{}' NOT NULL, 
	opened_at DATETIME NOT NULL, 
	closed_at DATETIME, 
	PRIMARY KEY (batch_id), 
	CONSTRAINT ck_batch_batch_id_length CHECK (length(batch_id) <= 64), 
	CONSTRAINT ck_batch_kind_enum CHECK (kind IN ('ingest', 'import', 'execute', 'reflect')), 
	CONSTRAINT ck_batch_state_enum CHECK (state IN ('open', 'done')), 
	CONSTRAINT ck_batch_source_length CHECK (length(source) <= 512)
);
INSERT INTO "batch" VALUES('B-1','ingest','done','a.jsonl',0,0,0,0,'{}','2026-10-01 08:00:00.000000','2026-10-01 08:00:00.000000');
CREATE TABLE cursor (
	stage VARCHAR(64) NOT NULL, 
	position VARCHAR(64) NOT NULL, 
	state VARCHAR(128) NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (stage, position), 
	CONSTRAINT ck_cursor_stage_length CHECK (length(stage) <= 64), 
	CONSTRAINT ck_cursor_position_length CHECK (length(position) <= 64), 
	CONSTRAINT ck_cursor_state_length CHECK (length(state) <= 128), 
	CONSTRAINT ck_cursor_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_cursor_updated_by_length CHECK (length(updated_by) <= 64)
);
INSERT INTO "cursor" VALUES('reflect','2026-09-01','m','2026-10-01 08:00:00.000000','reflect','2026-10-01 08:00:00.000000','reflect');
CREATE TABLE landing_file (
	batch_id VARCHAR(64) NOT NULL, 
	file_name VARCHAR(255) NOT NULL, 
	file_id VARCHAR(64) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	records_read BIGINT DEFAULT 0 NOT NULL, 
	records_accepted BIGINT DEFAULT 0 NOT NULL, 
	records_rejected BIGINT DEFAULT 0 NOT NULL, 
	records_duplicate BIGINT DEFAULT 0 NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (batch_id, file_name), 
	CONSTRAINT ck_landing_file_batch_id_length CHECK (length(batch_id) <= 64), 
	CONSTRAINT ck_landing_file_file_name_length CHECK (length(file_name) <= 255), 
	CONSTRAINT ck_landing_file_file_id_length CHECK (length(file_id) <= 64), 
	CONSTRAINT ck_landing_file_state_enum CHECK (state IN ('claimed', 'deleted', 'kept')), 
	CONSTRAINT ck_landing_file_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_landing_file_updated_by_length CHECK (length(updated_by) <= 64)
);
CREATE TABLE object_version (
	object_type VARCHAR(32) NOT NULL, 
	object_id VARCHAR(64) NOT NULL, 
	version VARCHAR(24) NOT NULL, 
	document TEXT NOT NULL, 
	document_hash VARCHAR(64) NOT NULL, 
	reason VARCHAR(64) NOT NULL, 
	source VARCHAR(128) NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (object_type, object_id, version), 
	CONSTRAINT ck_object_version_object_type_length CHECK (length(object_type) <= 32), 
	CONSTRAINT ck_object_version_object_id_length CHECK (length(object_id) <= 64), 
	CONSTRAINT ck_object_version_version_length CHECK (length(version) <= 24), 
	CONSTRAINT ck_object_version_document_hash_length CHECK (length(document_hash) <= 64), 
	CONSTRAINT ck_object_version_reason_length CHECK (length(reason) <= 64), 
	CONSTRAINT ck_object_version_source_length CHECK (length(source) <= 128), 
	CONSTRAINT ck_object_version_created_by_length CHECK (length(created_by) <= 64)
);
INSERT INTO "object_version" VALUES('role','FA-D-001','1','{"role_id": "FA-D-001", "role_title": "Finance Director", "department": "Finance", "hierarchy_level": "II"}','114c5a14bbf3a9c818357ee65dbce3ad6e9a57461f2aa020826a73b760ff7d06','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','HR-D-001','1','{"role_id": "HR-D-001", "role_title": "HR Director", "department": "HR", "hierarchy_level": "II"}','53113c1d1eae6e96f0cd1c6352d2ec1790e05c0d751ca4b2679c3ea145fdc2e8','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','IT-D-001','1','{"role_id": "IT-D-001", "role_title": "IT Director", "department": "IT", "hierarchy_level": "II"}','ef0f5f39c37430c8ec151c32e7a3be7489cf3ef5db4a67314ac9a5046ff28c04','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SAL-D-001','1','{"role_id": "SAL-D-001", "role_title": "Sales Director", "department": "Sales", "hierarchy_level": "II"}','de45802d0ab7f16f8c646279a73e55d725600118ab187b1ea17a7e2b44103590','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','MKT-D-001','1','{
    "role_id": "MKT-D-001",
    "role_title": "Marketing Director",
    "department": "Marketing",
    "hierarchy_level": "II"
  }','93e4ccfd23273779819cfeb9bde6fa51b156609c595647641db1303c33047cf7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','LGL-D-001','1','{"role_id": "LGL-D-001", "role_title": "General Counsel", "department": "Legal", "hierarchy_level": "II"}','b9b6b5164636f1f56f0f0c9ef42f1353c32e93b778bff9c4f28577dce0a29d5d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SEC-D-001','1','{
    "role_id": "SEC-D-001",
    "role_title": "Security & Compliance Director",
    "department": "Compliance",
    "hierarchy_level": "II"
  }','dbecf9a2ca82bf1de34275f59240f45bc3f6a0cdb9336172f12dc63568e93bd7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','QA-D-001','1','{
    "role_id": "QA-D-001",
    "role_title": "Quality Assurance Director",
    "department": "Quality",
    "hierarchy_level": "II"
  }','72299428142a75a3bcb3deef3d1b3a431fdc307d353b36e2815a48bff6c910ef','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','FA-M-001','1','{
    "role_id": "FA-M-001",
    "role_title": "Finance Manager",
    "department": "Finance",
    "hierarchy_level": "III",
    "supervises_role_id": "FA-D-001"
  }','e28d3695e700176b13802f85ee938cfc302531f383e17fed5437609e677a7d6c','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','HR-M-001','1','{
    "role_id": "HR-M-001",
    "role_title": "Talent Acquisition Manager",
    "department": "HR",
    "hierarchy_level": "III",
    "supervises_role_id": "HR-D-001"
  }','717ace6fafdf0327f52761d38119616b037b7fe246d340531bdfbfdec3e4501f','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','IT-M-001','1','{
    "role_id": "IT-M-001",
    "role_title": "IT Operations Manager",
    "department": "IT",
    "hierarchy_level": "III",
    "supervises_role_id": "IT-D-001"
  }','b99731046ec545d491a63c3bdd5119e650a60c1cec120f281038caf418630161','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SAL-M-001','1','{
    "role_id": "SAL-M-001",
    "role_title": "Sales Manager",
    "department": "Sales",
    "hierarchy_level": "III",
    "supervises_role_id": "SAL-D-001"
  }','07686246b48da908d2e21446d367297faaea7a86561c1c81872e429dc1d24ba1','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','MKT-M-001','1','{
    "role_id": "MKT-M-001",
    "role_title": "Marketing Manager",
    "department": "Marketing",
    "hierarchy_level": "III",
    "supervises_role_id": "MKT-D-001"
  }','9741fbc9f55525f944c23d358376ec1e3e5370a4914af6614cc8312961a64c62','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','LGL-M-001','1','{
    "role_id": "LGL-M-001",
    "role_title": "Corporate Counsel",
    "department": "Legal",
    "hierarchy_level": "III",
    "supervises_role_id": "LGL-D-001"
  }','570e5e768d3703bcef66afbf353ae835eb7d6bb205f43ccb44b3da720b734ece','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SEC-M-001','1','{
    "role_id": "SEC-M-001",
    "role_title": "Security & Compliance Manager",
    "department": "Compliance",
    "hierarchy_level": "III",
    "supervises_role_id": "SEC-D-001"
  }','e3fdc4985a4e88e04a7868b6e5d54ca7bc14cf6ac9cbf54575fafac5cfa62abf','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','QA-M-001','1','{
    "role_id": "QA-M-001",
    "role_title": "Quality Assurance Manager",
    "department": "Quality",
    "hierarchy_level": "III",
    "supervises_role_id": "QA-D-001"
  }','52a5a48d70a90f392b1f7ec388097c53645576f4c38dae8cecd8709aacad1a40','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','PROC-M-001','1','{
    "role_id": "PROC-M-001",
    "role_title": "Procurement Manager",
    "department": "Procurement",
    "hierarchy_level": "III",
    "supervises_role_id": "FA-D-001"
  }','5ce50b115217f51d4a63f38fc2a10e8db6fd898a2fa6a1fad2f325c28aae203b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SC-M-001','1','{
    "role_id": "SC-M-001",
    "role_title": "Supply Chain Manager",
    "department": "Supply Chain",
    "hierarchy_level": "III",
    "supervises_role_id": "FA-D-001"
  }','cd1d15503b4ac05557b6478bc00ffc82cbd952f1c6a9ec89a37449d8f718221a','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','CS-M-001','1','{
    "role_id": "CS-M-001",
    "role_title": "Customer Service Manager",
    "department": "Customer Service",
    "hierarchy_level": "III",
    "supervises_role_id": "SAL-D-001"
  }','b2eb710b89b8ed55d70f25bf1ae0aa41242579f59ca26ffe28a0a47314b621d3','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','DA-M-001','1','{
    "role_id": "DA-M-001",
    "role_title": "Data & Analytics Manager",
    "department": "Data",
    "hierarchy_level": "III",
    "supervises_role_id": "IT-D-001"
  }','10fe07adbc2db6a2fb11557cdf62a274865fef4da779195b6c6eefa0ac049b5b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','FA-IC-001','1','{
    "role_id": "FA-IC-001",
    "role_title": "Accounts Payable Specialist",
    "department": "Finance",
    "hierarchy_level": "V",
    "supervises_role_id": "FA-M-001",
    "role_type": "hybrid"
  }','2ba0422fe7888521f62fe0a0f4bcd85e407e37619dbd7ce9b9618551a0cfc620','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','HR-IC-001','1','{
    "role_id": "HR-IC-001",
    "role_title": "HR Coordinator",
    "department": "HR",
    "hierarchy_level": "V",
    "supervises_role_id": "HR-M-001",
    "role_type": "hybrid"
  }','29eab355fc5167877f7f1d96b74789eb9c0a358433e87c437c4326bad4429e05','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','IT-IC-001','1','{
    "role_id": "IT-IC-001",
    "role_title": "IT Support Technician",
    "department": "IT",
    "hierarchy_level": "V",
    "supervises_role_id": "IT-M-001",
    "role_type": "hybrid"
  }','21540b89cbb1887f2168337e568668a63be24499f928ccb664505ed6010e2d8c','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role','SAL-IC-001','1','{
    "role_id": "SAL-IC-001",
    "role_title": "Sales Representative",
    "department": "Sales",
    "hierarchy_level": "V",
    "supervises_role_id": "SAL-M-001"
  }','4665d9f1cb518a2bc314d149101f9550ce3947699ff9c5098302695b4743090d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-ETL-011','1','{"role_id": "DA-M-001", "skill_id": "SK-ETL-011", "permission": "maintain"}','ec145f1a6bbdd7287326d9c7738cac3d5c4be728b428ca08d7b08ba2dda30802','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-EXT-000','1','{"role_id": "DA-M-001", "skill_id": "SK-EXT-000"}','d290b56294945fc1e908ce5a364fa299f33ed450c6a67e17e4c5c2cf7b844e2d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-GEN-009','1','{"role_id": "DA-M-001", "skill_id": "SK-GEN-009", "permission": "maintain"}','f9d5d1667d7fe918928564cdec87fcaa94728a1cfebc7d1dac63f94d3f563140','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-GEN-010','1','{"role_id": "DA-M-001", "skill_id": "SK-GEN-010", "permission": "maintain"}','81a3cbd9d749bce69d81faf63408414de502ef777e134e845f93283c1e4cd387','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-ML-012','1','{"role_id": "DA-M-001", "skill_id": "SK-ML-012", "permission": "maintain"}','349e8b0c4cdef234a152c2bb6d2b244c6f17c4fc84f2dbd33594588f3e51adc8','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-NLP-013','1','{"role_id": "DA-M-001", "skill_id": "SK-NLP-013"}','e2050359c2f8e1baa6d456107db05276467057e9a1c1cdd98aa2e82c47ad87dc','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','DA-M-001/SK-VIZ-014','1','{"role_id": "DA-M-001", "skill_id": "SK-VIZ-014", "permission": "maintain"}','9e4ec63e3a3fe0942a74a6c670452cab4728ac242d989ca404b77690e0e96b14','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-IC-001/SK-COMM-004','1','{"role_id": "FA-IC-001", "skill_id": "SK-COMM-004"}','868965dcc7e438955e954602bf779885a6feeb1b22580985c1e2d4f4cc6aa65c','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-IC-001/SK-COMM-005','1','{"role_id": "FA-IC-001", "skill_id": "SK-COMM-005"}','615241dd5b770e711062733135ff89a1f03eb474f9a1b85f64e12773a0eded24','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-IC-001/SK-ERP-002','1','{"role_id": "FA-IC-001", "skill_id": "SK-ERP-002"}','8c8ab9e8e32a7968d7082c97ab32a238274fb4f63f77db983fed3c92b7215cea','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-IC-001/SK-LOGIC-003','1','{"role_id": "FA-IC-001", "skill_id": "SK-LOGIC-003"}','55e537d0f70b16c3dc728f9c0381dab0e379e0119372f6da1d2ceb1cd2ab3530','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-IC-001/SK-OCR-001','1','{"role_id": "FA-IC-001", "skill_id": "SK-OCR-001"}','08ca35a157c70b468e144e38f11b828bc64e56a4fd286b9775bd6b8dd45f152d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-COMM-004','1','{"role_id": "FA-M-001", "skill_id": "SK-COMM-004"}','6bdc9a88e022d58cce291c133254b082d9569d4fb7e0b7d3b512a6a3db55b58d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-COMM-005','1','{"role_id": "FA-M-001", "skill_id": "SK-COMM-005"}','03fa2726b3724e963c3d211de7af28dfcb25c65a994256253d9967d2fd43fbb2','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-ERP-002','1','{"role_id": "FA-M-001", "skill_id": "SK-ERP-002", "permission": "maintain"}','9ff592a3607ec11c342c1c56555230ec61746b43175ea0f9ac3b27d8ff795278','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-LOGIC-003','1','{"role_id": "FA-M-001", "skill_id": "SK-LOGIC-003"}','e6c90f2107aa0569c7581f626f4d1c3f6e47af00bd3060aaa52f9a6d00a6bdfa','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-OCR-001','1','{"role_id": "FA-M-001", "skill_id": "SK-OCR-001"}','9cbdcd5b720bbe488d75ab0fce1c6a15e080016da215c06eb7e8cfe51d485c9b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','FA-M-001/SK-VIZ-014','1','{"role_id": "FA-M-001", "skill_id": "SK-VIZ-014"}','b4e9c82046e8ab8cb874e1e84dc3a3033cc9769500ee4a9272c43f018a7f7ef9','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','HR-IC-001/SK-API-007','1','{"role_id": "HR-IC-001", "skill_id": "SK-API-007"}','3bc717bc04b95f541005890fffbabafb274b6df33809b99019ab809609364128','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','HR-IC-001/SK-COMM-004','1','{"role_id": "HR-IC-001", "skill_id": "SK-COMM-004"}','83ccf8a7308f10ba78824c5ca53983bd735c7774748c61b15feea918f5fef34e','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','HR-IC-001/SK-COMM-005','1','{"role_id": "HR-IC-001", "skill_id": "SK-COMM-005"}','3313518c5b4277240cba35d4484469f44ed124904ee7ad7ff82c6dc90cbef4f7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','HR-IC-001/SK-HCM-006','1','{"role_id": "HR-IC-001", "skill_id": "SK-HCM-006"}','8130a9ddd3a094c3b9268c86933dd19d8755e7bdc32d5a9103a273f7dcdda775','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','HR-M-001/SK-HCM-006','1','{"role_id": "HR-M-001", "skill_id": "SK-HCM-006", "permission": "maintain"}','5f7bbf93d89ca13e03a9bc67de5e1532843c39a78225d81f0af6d3ce6a3196ad','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-IC-001/SK-COMM-004','1','{"role_id": "IT-IC-001", "skill_id": "SK-COMM-004"}','9661600e0107050f858842ba82da0a88d549769365f6ee9740f1d021c7fe5e67','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-IC-001/SK-COMM-005','1','{"role_id": "IT-IC-001", "skill_id": "SK-COMM-005"}','0f3e5df51639811f7f9a61273db748c5baf31dafdfb05ff92e2fc1e1bee8e2a1','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-IC-001/SK-IT-008','1','{"role_id": "IT-IC-001", "skill_id": "SK-IT-008"}','5c188b9ce1929b8c303fb21de19a3211cdd813db6436bca51ec25d0a1050dea5','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-M-001/SK-API-007','1','{"role_id": "IT-M-001", "skill_id": "SK-API-007"}','1ea205f4a7345a214e774c61933d059c7fddf4ea1d375ee08d86d9dc2b03076e','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-M-001/SK-COMM-005','1','{"role_id": "IT-M-001", "skill_id": "SK-COMM-005"}','64877ab7be1823813a887de66a20d986ca7eb570a758402b7f710cf1f47e1753','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-M-001/SK-IT-008','1','{"role_id": "IT-M-001", "skill_id": "SK-IT-008"}','a071c3d537cc3cd34c4ed05a88b15c966a0523479c90b08c6be7d3e643242249','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-M-001/SK-NLP-013','1','{"role_id": "IT-M-001", "skill_id": "SK-NLP-013"}','f4df597d99e2193378c77f1c38be2e157b664f06d828081a47c2a229811676d1','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','IT-M-001/SK-OCR-001','1','{"role_id": "IT-M-001", "skill_id": "SK-OCR-001", "permission": "maintain"}','ba4a9f004ee449d4465bfd919dac74bbd9f97a0584fd08b144a3f5d7b9c73189','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','QA-M-001/SK-COMM-004','1','{"role_id": "QA-M-001", "skill_id": "SK-COMM-004"}','aad9a17cac3b963ae92ec209ad5e661aaad8303004bf283cd8bc7c708e3811e0','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','QA-M-001/SK-VIZ-014','1','{"role_id": "QA-M-001", "skill_id": "SK-VIZ-014"}','a563d7fb12139e818615b59a29802612c03cf9a7fdf53fa27b906c5d44d5fa22','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','SAL-IC-001/SK-COMM-005','1','{"role_id": "SAL-IC-001", "skill_id": "SK-COMM-005"}','32ddeca515b9b31e65d2cd95a4174d568764f31f615c69eee4dba226f1d4f40d','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','SEC-M-001/SK-LOGIC-003','1','{"role_id": "SEC-M-001", "skill_id": "SK-LOGIC-003"}','5aa14a4dafd5b6ce214ed3f2a3b0ce01fe312c6e8352ac771d722d572f7368d6','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('role_skill_map','SEC-M-001/SK-NLP-013','1','{"role_id": "SEC-M-001", "skill_id": "SK-NLP-013"}','7253e329cccc2f1910f386678baff645ad9f6708a781505e38f41d01e2a2aff5','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-ORCH-001','1','{
    "agent_id": "AG-ORCH-001",
    "agent_name": "Orchestrator",
    "agent_type": "l2_orchestrator",
    "role_id": "IT-M-001",
    "policy_profile": {"skills": ["SK-API-007"]}
  }','00ac89d6ca3651d4cefbc537d26bd8da9a30d669ea028c1fd4bbca288d2fadd7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-DOC-001','1','{
    "agent_id": "AG-DOC-001",
    "agent_name": "Document agent",
    "agent_type": "skill_agent",
    "role_id": "FA-IC-001",
    "policy_profile": {"skills": ["SK-OCR-001"]}
  }','e94853eb78bb66109df8fe9fe989ad712f21e2a1771ea2b35e424269c7b1572f','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-RULES-001','1','{
    "agent_id": "AG-RULES-001",
    "agent_name": "Rules agent",
    "agent_type": "skill_agent",
    "role_id": "SEC-M-001",
    "policy_profile": {"skills": ["SK-LOGIC-003", "SK-NLP-013"]}
  }','97d574ae0bf71e2e8eefaf0e50dd54dd8ed7e6ad3dc3d2d63b6f375ac22479f4','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-ERP-001','1','{
    "agent_id": "AG-ERP-001",
    "agent_name": "Records agent",
    "agent_type": "skill_agent",
    "role_id": "FA-IC-001",
    "policy_profile": {"skills": ["SK-ERP-002"]}
  }','7ac4d068d6f4fb963edb4430a18f146f2a61178ca3414d4152714c511afb02ff','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-COMM-001','1','{
    "agent_id": "AG-COMM-001",
    "agent_name": "Notification agent",
    "agent_type": "skill_agent",
    "role_id": "IT-M-001",
    "policy_profile": {"skills": ["SK-COMM-005"]}
  }','b11fd6f3c353f5f911612e5ba64f0f6cd624706bb7fc82da86a60fbf5ae38ff7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-HCM-001','1','{
    "agent_id": "AG-HCM-001",
    "agent_name": "HR records agent",
    "agent_type": "skill_agent",
    "role_id": "HR-IC-001",
    "policy_profile": {"skills": ["SK-HCM-006"]}
  }','4802f17190241ba268864986f548c210b6aa980a0c49b41d382ac93410d6f258','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-IAM-001','1','{
    "agent_id": "AG-IAM-001",
    "agent_name": "Access agent",
    "agent_type": "skill_agent",
    "role_id": "IT-IC-001",
    "policy_profile": {"skills": ["SK-IT-008"]}
  }','45fddc201121f776d0cec14e51ba5854334c501adc300216a2352b4ca3e1061b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-DATA-001','1','{
    "agent_id": "AG-DATA-001",
    "agent_name": "Data agent",
    "agent_type": "skill_agent",
    "role_id": "DA-M-001",
    "policy_profile": {"skills": ["SK-ETL-011", "SK-ML-012", "SK-VIZ-014"]}
  }','aa7c138a6ce9f24bf73f11db5d7b5ff52568f992371cff819d3d5362e7cd986c','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-SYNTH-001','1','{
    "agent_id": "AG-SYNTH-001",
    "agent_name": "Synthesis agent",
    "agent_type": "skill_agent",
    "role_id": "DA-M-001",
    "policy_profile": {"skills": ["SK-GEN-009", "SK-GEN-010"]}
  }','c21ceb925576179d199622970d648f561489f05fd79853f8b16fd9ce9c5f8c41','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-REFLECT-001','1','{
    "agent_id": "AG-REFLECT-001",
    "agent_name": "Reflection evaluator",
    "agent_type": "evaluator",
    "role_id": "DA-M-001",
    "policy_profile": {"skills": []}
  }','bec786080e00d2481e79cc048930c2ca9b5274177ebbc2f9e14180eb3e2f563b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-HUMAN-001','1','{
    "agent_id": "AG-HUMAN-001",
    "agent_name": "Handoffs to people",
    "agent_type": "human_proxy",
    "role_id": "FA-M-001",
    "policy_profile": {"skills": ["SK-COMM-004"]}
  }','3eb2fcdb85332fd6fc846d580fe538c973e2c0c66270fd2862b973c23d7f81d9','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('agent','AG-EXTERNAL','1','{
    "agent_id": "AG-EXTERNAL",
    "agent_name": "Whoever acted in an imported history",
    "agent_type": "human_proxy",
    "role_id": "DA-M-001",
    "policy_profile": {"skills": ["SK-EXT-000"]},
    "organisation": "external"
  }','34a6685feadb659b788b1fe149685c2294ef5b2af255660fca1c7903189b2d44','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY','1','{"node_id": "ONT-ENTITY", "node_type": "entity", "label": "Business entity"}','c308add516f34a9ba1e068336a38a4d43db6f90fc3d3723fae30d2ca53e6b839','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY-INVOICE','1','{
    "node_id": "ONT-ENTITY-INVOICE",
    "node_type": "entity",
    "label": "Invoice",
    "attributes": {"domain": "finance"},
    "parent_id": "ONT-ENTITY"
  }','73321bc4d2bdbfc108fb74c89333f3cdfec37c271745930dee542a115170c523','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY-PO','1','{
    "node_id": "ONT-ENTITY-PO",
    "node_type": "entity",
    "label": "Purchase order",
    "attributes": {"domain": "finance"},
    "parent_id": "ONT-ENTITY"
  }','477f5efc681dd2cfbc0e33c45cb043beb7c31ff98beafd2696b74e9825dd5a25','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY-VENDOR','1','{
    "node_id": "ONT-ENTITY-VENDOR",
    "node_type": "entity",
    "label": "Vendor",
    "attributes": {"domain": "finance"},
    "parent_id": "ONT-ENTITY"
  }','4050b92d2bbf63e28d04f6643278fe065f013902ded5d2065b7143f7eae47644','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY-EMPLOYEE','1','{
    "node_id": "ONT-ENTITY-EMPLOYEE",
    "node_type": "entity",
    "label": "Employee",
    "attributes": {"domain": "hr"},
    "parent_id": "ONT-ENTITY"
  }','720a93b48242f40556f2675c57576a9b48c085be1cc8c6993598e7b857ad2bba','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-ENTITY-ACCOUNT','1','{
    "node_id": "ONT-ENTITY-ACCOUNT",
    "node_type": "entity",
    "label": "User account",
    "attributes": {"domain": "it"},
    "parent_id": "ONT-ENTITY"
  }','fc4a8501976c99cee061af646dc5b348c0af916378e193bde32aeef87b577a2a','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT','1','{"node_id": "ONT-EVENT", "node_type": "event", "label": "Business event"}','bd0724c481be25bd6f13399d07b99341ac271e63eb1a0305e68ff49fcf3e4567','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-AP-INVOICE-RECEIVED','1','{
    "node_id": "ONT-EVENT-AP-INVOICE-RECEIVED",
    "node_type": "event",
    "label": "ap.invoice.received",
    "parent_id": "ONT-EVENT"
  }','41c2f73312be110ca4b013520b6c525df1f62540430fb4bf0dc9391c19095380','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-HR-OFFER-SIGNED','1','{
    "node_id": "ONT-EVENT-HR-OFFER-SIGNED",
    "node_type": "event",
    "label": "hr.offer.signed",
    "parent_id": "ONT-EVENT"
  }','203a34eb1eb0a5f5172da6679ccf93b69696f52444a3479851d2169562295d33','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-IT-PROVISION-COMPLETE','1','{
    "node_id": "ONT-EVENT-IT-PROVISION-COMPLETE",
    "node_type": "event",
    "label": "it.provision.complete",
    "parent_id": "ONT-EVENT"
  }','f92b07862fe60078dc326112c3ea4a31eadce119d2669894160a485b83397ff4','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-REFLECTION-PROPOSED','1','{
    "node_id": "ONT-EVENT-REFLECTION-PROPOSED",
    "node_type": "event",
    "label": "reflection.proposed",
    "parent_id": "ONT-EVENT"
  }','d2a4534ba863c177b211d3a467cf6015c9550f8465fe0de75364d06e359d59f6','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-POLICY-UPDATED','1','{
    "node_id": "ONT-EVENT-POLICY-UPDATED",
    "node_type": "event",
    "label": "policy.updated",
    "parent_id": "ONT-EVENT"
  }','0e96125df79484cd76ba330151af4059d1d8f86503f9f55325a7ab005bf31f42','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-EVENT-HANDOFF-DECIDED','1','{
    "node_id": "ONT-EVENT-HANDOFF-DECIDED",
    "node_type": "event",
    "label": "handoff.decided",
    "parent_id": "ONT-EVENT"
  }','9b585653246ed67f922f3e727a77669c97fa9eb372477a5579a5106bbbf95841','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-METRIC','1','{"node_id": "ONT-METRIC", "node_type": "metric", "label": "Metric"}','43cc35c5a1d314004ed17445e5325eebc75779bef024fb79c131eb67ddcc00be','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-METRIC-LATENCY','1','{
    "node_id": "ONT-METRIC-LATENCY",
    "node_type": "metric",
    "label": "Latency",
    "attributes": {"unit": "ms"},
    "parent_id": "ONT-METRIC"
  }','58967d89b44bacf4fed0f0fc4a7d00402ec9273b6bba01d5f0871b327a816d2e','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-METRIC-ERROR-RATE','1','{
    "node_id": "ONT-METRIC-ERROR-RATE",
    "node_type": "metric",
    "label": "Error rate",
    "attributes": {"unit": "ratio"},
    "parent_id": "ONT-METRIC"
  }','63c2b53a24ec7ca4ee773f69b88532947d478b95882d0df652bd48680b31a278','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-METRIC-COST','1','{
    "node_id": "ONT-METRIC-COST",
    "node_type": "metric",
    "label": "Cost",
    "attributes": {"unit": "micros"},
    "parent_id": "ONT-METRIC"
  }','98e3d395b12122b540f661c64847caaee3bcf033e7f0687d0749166d350a2bc2','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-TAG','1','{"node_id": "ONT-TAG", "node_type": "policy_tag", "label": "Policy tag"}','889d220996d18006430227c26b67db13b9667820c8438c892d0c62d51b393343','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-TAG-SOX','1','{
    "node_id": "ONT-TAG-SOX",
    "node_type": "policy_tag",
    "label": "sox",
    "attributes": {"domain": "finance"},
    "parent_id": "ONT-TAG"
  }','8a86ff545073eb1aee363df2e2c070dd2a328373e9ef080e3215342351236d02','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-TAG-PII','1','{
    "node_id": "ONT-TAG-PII",
    "node_type": "policy_tag",
    "label": "pii",
    "attributes": {"domain": "security"},
    "parent_id": "ONT-TAG"
  }','9cd07906d16d4f5130f4f7cd16869aabcb5b79c8b577aad03cb997a10a043590','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('ontology_node','ONT-TAG-PII-REDACTION','1','{
    "node_id": "ONT-TAG-PII-REDACTION",
    "node_type": "policy_tag",
    "label": "pii_redaction",
    "attributes": {"domain": "security"},
    "parent_id": "ONT-TAG-PII"
  }','ae8a8fa312ae90271778fd598d0a336da47cf05088bae8e7366981af7726f142','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-API-007','1.0.0','{
  "skill_id": "SK-API-007",
  "skill_name": "Inter_Agent_API_Caller",
  "category": "api",
  "signature": {
    "name": "call",
    "args": [
      {"name": "target_workflow_id", "type": "string", "required": true},
      {"name": "payload", "type": "object", "default": {}}
    ],
    "returns": {
      "type": "object",
      "properties": {"episode_id": "string", "outcome": "string", "output": "object"}
    },
    "errors": ["CONNECTIVITY", "TIMEOUT", "UNKNOWN_WORKFLOW", "CHILD_FAILED"]
  },
  "description": "Starts another workflow and hands back its result.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "orchestrator",
    "effects": {"call": "workflow.start"},
    "timeouts_ms": 300000,
    "retries": 1,
    "simulation": {"latency_ms": {"median": 15, "sigma": 0.3}, "cost_micros": 0}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "IT-M-001",
  "is_generator": false
}
','c9073d4de5337f513a56338aa0775677ed541bb0e38fe81a97bc3d9b069e5adb','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-COMM-004','1.0.0','{
  "skill_id": "SK-COMM-004",
  "skill_name": "Human_Handoff_Protocol",
  "category": "comm",
  "signature": {
    "name": "handoff",
    "args": [
      {"name": "reason_code", "type": "string", "required": true, "aliases": ["reason"]},
      {
        "name": "owner_id",
        "type": "string",
        "required": true,
        "aliases": ["owner"],
        "references": "role"
      },
      {"name": "context", "type": "object", "default": "${episode.outputs}"}
    ],
    "returns": {"type": "object", "properties": {"handoff_id": "string", "owner_id": "string"}},
    "errors": ["CONNECTIVITY", "UNKNOWN_OWNER"]
  },
  "description": "Escalates to a person with all state carried over.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "task_inbox",
    "effects": {"handoff": "task.create"},
    "timeouts_ms": 30000,
    "retries": 3,
    "simulation": {"latency_ms": {"median": 60, "sigma": 0.3}, "cost_micros": 0}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "QA-M-001",
  "is_generator": false
}
','75e0870f36138eb9517fccc4da6a8e28a86af0696b93841deb51af22c67e8b80','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-COMM-005','1.0.0','{
  "skill_id": "SK-COMM-005",
  "skill_name": "Standard_Notification",
  "category": "comm",
  "signature": {
    "name": "send",
    "args": [
      {"name": "channel", "type": "string", "required": true},
      {"name": "recipient", "type": "any", "required": true, "aliases": ["recipients"]},
      {
        "name": "template_id",
        "type": "string",
        "default": "default",
        "aliases": ["template"]
      },
      {"name": "data", "type": "object", "default": "${episode.outputs}"}
    ],
    "returns": {"type": "object", "properties": {"message_id": "string", "delivered": "boolean"}},
    "errors": ["CONNECTIVITY", "BOUNCED", "UNKNOWN_TEMPLATE"]
  },
  "description": "Sends email, Slack and SMS messages.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "messaging",
    "effects": {"send": "message.send"},
    "timeouts_ms": 15000,
    "retries": 3,
    "simulation": {"latency_ms": {"median": 120, "sigma": 0.5}, "cost_micros": 100}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "IT-M-001",
  "is_generator": false
}
','e3b36ae90fe1d5b21d4787a96b09c0e83ac3536d865f3c51ace4e40c3e1eb209','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-ERP-002','1.0.0','{
  "skill_id": "SK-ERP-002",
  "skill_name": "System_Record_Writeback",
  "category": "tool",
  "signature": {
    "name": "write",
    "args": [
      {"name": "system", "type": "string", "required": true},
      {"name": "action", "type": "string", "required": true},
      {"name": "data_payload", "type": "object", "default": "${episode.outputs}"}
    ],
    "returns": {"type": "object", "properties": {"record_id": "string", "status": "string"}},
    "errors": ["CONNECTIVITY", "TIMEOUT", "SCHEMA_MISMATCH", "DUPLICATE", "REJECTED"]
  },
  "description": "Writes transactions to ERP, ledger, CRM and governance systems.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "erp",
    "effects": {
      "Book_Invoice": "ledger.write",
      "Issue_PO": "procurement.write",
      "Pay_Invoice": "payments.write",
      "Record_Order": "sales.write",
      "record_assignment": "governance.write"
    },
    "timeouts_ms": 30000,
    "retries": 3,
    "simulation": {"latency_ms": {"median": 350, "sigma": 0.4}, "cost_micros": 200, "fault_rate": 0.08}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "FA-M-001",
  "is_generator": false
}
','3eb76f6df6992bab2b9cce7a7a374294729e07d02ae987d42cde020f651cf342','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-ETL-011','1.0.0','{
  "skill_id": "SK-ETL-011",
  "skill_name": "Tabular_ETL",
  "category": "etl",
  "signature": {
    "name": "transform",
    "args": [
      {"name": "sql_or_dag", "type": "any", "required": true},
      {"name": "inputs", "type": "array<string>", "required": true},
      {"name": "outputs", "type": "array<string>", "required": true}
    ],
    "returns": {"type": "object", "properties": {"rows": "integer"}},
    "errors": ["CONNECTIVITY", "SCHEMA_MISMATCH", "QUERY_FAILED"]
  },
  "description": "Transforms tables.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "lake",
    "effects": {"transform": "data.write"},
    "timeouts_ms": 600000,
    "retries": 1,
    "simulation": {"latency_ms": {"median": 1800, "sigma": 0.6}, "cost_micros": 400}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "DA-M-001",
  "is_generator": false
}
','e78702965a320af2a41c8655f541a3e8155d2c8f2bdf04edcdc4f7dc4b6ef7a0','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-EXT-000','1.0.0','{
  "skill_id": "SK-EXT-000",
  "skill_name": "External_Activity",
  "category": "etl",
  "signature": {
    "name": "record",
    "args": [{"name": "activity", "type": "string", "required": true}],
    "returns": {"type": "object", "properties": {}},
    "errors": []
  },
  "description": "Stands for what an imported log says was done outside; it cannot be executed.",
  "runtime_binding": {"adapter": "none", "system": "external"},
  "version": "1.0.0",
  "stability_tier": "restricted",
  "owner_role_id": "DA-M-001",
  "is_generator": false
}
','e3ce5c5103fa78dab1b1ef42a8fd2d1ba06e7acbcc8dbbf69b198ff332a37890','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-GEN-009','1.0.0','{
  "skill_id": "SK-GEN-009",
  "skill_name": "Workflow_Synthesizer",
  "category": "generator",
  "signature": {
    "name": "synthesize",
    "args": [
      {"name": "genome", "type": "object", "required": true},
      {"name": "episodes", "type": "array<string>", "required": true},
      {"name": "constraints", "type": "object", "default": {}}
    ],
    "returns": {"type": "object", "properties": {"proposals": "array<object>"}},
    "errors": ["NO_PATTERN", "INSUFFICIENT_EVIDENCE"]
  },
  "description": "Proposes new workflows from episodes.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "synthesis",
    "effects": {"synthesize": "proposal.create"},
    "timeouts_ms": 600000,
    "retries": 0
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "DA-M-001",
  "is_generator": true
}
','3763a188bdbb05818fa296649058e610879aa39a5cae957fce0920ac833ba13e','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-GEN-010','1.0.0','{
  "skill_id": "SK-GEN-010",
  "skill_name": "Skill_Induction",
  "category": "generator",
  "signature": {
    "name": "induce",
    "args": [
      {"name": "capability_gap", "type": "object", "required": true},
      {"name": "traces", "type": "array<object>", "required": true},
      {"name": "io_pairs", "type": "array<object>", "default": []}
    ],
    "returns": {"type": "object", "properties": {"proposals": "array<object>"}},
    "errors": ["NO_PATTERN", "INSUFFICIENT_EVIDENCE"]
  },
  "description": "Proposes new skill nodes that close a capability gap.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "synthesis",
    "effects": {"induce": "proposal.create"},
    "timeouts_ms": 600000,
    "retries": 0
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "DA-M-001",
  "is_generator": true
}
','1a09d42257a2c57b430afcb2f9cc5d73054e81e9d447e5639983acadf7915a41','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-HCM-006','1.0.0','{
  "skill_id": "SK-HCM-006",
  "skill_name": "HCM_System_Interface",
  "category": "tool",
  "signature": {
    "name": "query",
    "args": [
      {"name": "system", "type": "string", "required": true},
      {"name": "object_id", "type": "string", "required": true}
    ],
    "returns": {"type": "object", "properties": {"record": "object"}},
    "errors": ["CONNECTIVITY", "TIMEOUT", "NOT_FOUND"]
  },
  "description": "Reads records of Workday and SuccessFactors.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "hcm",
    "effects": {},
    "timeouts_ms": 20000,
    "retries": 2,
    "simulation": {"latency_ms": {"median": 280, "sigma": 0.4}, "cost_micros": 100}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "HR-M-001",
  "is_generator": false
}
','8b010f99d392934133a0bbbb7df909fcf69bec23048853d53b179d325ceedab6','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-IT-008','1.0.0','{
  "skill_id": "SK-IT-008",
  "skill_name": "Identity_Access_Manager",
  "category": "tool",
  "signature": {
    "name": "provision",
    "args": [
      {"name": "system", "type": "string", "required": true},
      {"name": "user_id", "type": "string", "required": true},
      {"name": "access_group", "type": "string", "required": true}
    ],
    "returns": {"type": "object", "properties": {"account_id": "string", "status": "string"}},
    "errors": ["CONNECTIVITY", "TIMEOUT", "DENIED", "DUPLICATE"]
  },
  "description": "Grants and revokes access in AD, Okta and Exchange.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "iam",
    "effects": {"provision": "identity.write"},
    "timeouts_ms": 60000,
    "retries": 2,
    "simulation": {"latency_ms": {"median": 600, "sigma": 0.5}, "cost_micros": 100}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "IT-M-001",
  "is_generator": false
}
','3387b35428c9d4a88aa532221a9ea281959970768a208b2723f2755df7d4e650','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-LOGIC-003','1.0.0','{
  "skill_id": "SK-LOGIC-003",
  "skill_name": "Compliance_Variance_Check",
  "category": "logic",
  "signature": {
    "name": "check",
    "args": [
      {"name": "lhs", "type": "any"},
      {"name": "rhs", "type": "any"},
      {"name": "policy", "type": "string"},
      {"name": "tolerance", "type": "number", "default": 0},
      {"name": "check", "type": "string"},
      {"name": "inputs", "type": "any", "default": "${episode.outputs}"},
      {"name": "window_h", "type": "number"}
    ],
    "returns": {
      "type": "object",
      "properties": {"pass": "boolean", "variance": "number", "reason": "string"}
    },
    "errors": ["MISSING_INPUT", "UNKNOWN_CHECK", "UNKNOWN_POLICY"]
  },
  "description": "Compares two sides within a tolerance, or evaluates a named check or policy; po_match binds both sides itself.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "rules",
    "effects": {},
    "timeouts_ms": 20000,
    "retries": 1,
    "simulation": {"latency_ms": {"median": 4, "sigma": 0.3}, "cost_micros": 0}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "SEC-M-001",
  "is_generator": false
}
','d20bf76b55c301b046964ebb1d5c6e527efc4fc32a49243324f5b2e0e9b2bd1b','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-ML-012','1.0.0','{
  "skill_id": "SK-ML-012",
  "skill_name": "Model_Retrainer",
  "category": "ml",
  "signature": {
    "name": "retrain",
    "args": [
      {"name": "dataset_id", "type": "string", "required": true},
      {"name": "objective", "type": "string", "required": true},
      {"name": "hyperparams", "type": "object", "default": {}}
    ],
    "returns": {"type": "object", "properties": {"model_id": "string", "metrics": "object"}},
    "errors": ["INSUFFICIENT_DATA", "DIVERGED", "TIMEOUT"]
  },
  "description": "Retrains a model on newer data.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "ml_platform",
    "effects": {"retrain": "model.write"},
    "timeouts_ms": 3600000,
    "retries": 0,
    "simulation": {"latency_ms": {"median": 90000, "sigma": 0.5}, "cost_micros": 250000}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "DA-M-001",
  "is_generator": false
}
','7ddfb4ea3757177f34aeb9d858ed2046348998e9b682175b9acdc69ba0aac912','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-NLP-013','1.0.0','{
  "skill_id": "SK-NLP-013",
  "skill_name": "Redaction_Filter",
  "category": "logic",
  "signature": {
    "name": "redact",
    "args": [
      {"name": "text", "type": "string", "required": true},
      {"name": "policies", "type": "array<string>", "default": []}
    ],
    "returns": {"type": "object", "properties": {"text": "string", "findings": "array<object>"}},
    "errors": ["UNKNOWN_POLICY"]
  },
  "description": "Replaces personal and financial data by tokens.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "guard",
    "effects": {},
    "timeouts_ms": 20000,
    "retries": 1,
    "simulation": {"latency_ms": {"median": 12, "sigma": 0.3}, "cost_micros": 0}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "SEC-M-001",
  "is_generator": false
}
','ea1e2dd86603d9b76a5748da052ac1d8d1291029bca0f5d403f20b91df5c80c8','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-OCR-001','2.1.0','{
  "skill_id": "SK-OCR-001",
  "skill_name": "Document_Entity_Extractor",
  "category": "ingestion",
  "signature": {
    "name": "extract",
    "args": [
      {"name": "file_uri", "type": "string", "required": true},
      {"name": "entities", "type": "array<string>", "required": true},
      {
        "name": "min_confidence",
        "type": "number",
        "default": 0.85,
        "aliases": ["min_conf"]
      }
    ],
    "returns": {
      "type": "object",
      "properties": {"entities": "map<string,any>", "confidence": "number"}
    },
    "errors": ["CONNECTIVITY", "SCHEMA_MISMATCH", "LOW_CONFIDENCE"]
  },
  "description": "Reads named entities out of unstructured documents.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "document_store",
    "effects": {},
    "timeouts_ms": 30000,
    "retries": 2,
    "simulation": {
      "latency_ms": {"median": 900, "sigma": 0.45},
      "cost_micros": 1500,
      "model": "simulated-ocr-1",
      "tokens": {"in": 1200, "out": 90}
    }
  },
  "version": "2.1.0",
  "stability_tier": "ga",
  "owner_role_id": "IT-M-001",
  "is_generator": false
}
','9859a6c93e02edfeec68d08012b8556374b9cde513e84dfb6ef8734fbfbdfa77','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('skill_node','SK-VIZ-014','1.0.0','{
  "skill_id": "SK-VIZ-014",
  "skill_name": "Metrics_Dashboard",
  "category": "viz",
  "signature": {
    "name": "render",
    "args": [
      {"name": "view_id", "type": "string", "required": true},
      {"name": "params", "type": "object", "default": {}}
    ],
    "returns": {"type": "object", "properties": {"uri": "string"}},
    "errors": ["UNKNOWN_VIEW", "QUERY_FAILED"]
  },
  "description": "Renders a view over the marts.",
  "runtime_binding": {
    "adapter": "simulated",
    "system": "dashboard",
    "effects": {},
    "timeouts_ms": 30000,
    "retries": 1,
    "simulation": {"latency_ms": {"median": 250, "sigma": 0.4}, "cost_micros": 0}
  },
  "version": "1.0.0",
  "stability_tier": "ga",
  "owner_role_id": "DA-M-001",
  "is_generator": false
}
','e2d08fa76c433fab0958bc380f71fad51f50b5ee4968f3cbb22287501d48e1e0','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-CONTRACT-001','1','{
  "policy_id": "POL-CONTRACT-001",
  "policy_name": "Vendors are told",
  "scope": "compliance",
  "spec": {"applies_to_tags": ["vendor"], "require_notification": true},
  "owner_role_id": "PROC-M-001",
  "precedence": "contractual"
}
','daced71500f88b25d7c65bc67d3be2323354ca7efa6985eef9f17d8e75799b46','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-DATA-001','1','{
  "policy_id": "POL-DATA-001",
  "policy_name": "Retention of data",
  "scope": "data",
  "spec": {"retention_days": {"pii": 180, "telemetry": 365, "events": 400}},
  "owner_role_id": "SEC-M-001",
  "precedence": "corporate"
}
','2ea45ec88e38ecca78a654826d9cc6da5e9137bb85ce460f7685cc8d7bf61e89','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-FINANCE-001','1','{
  "policy_id": "POL-FINANCE-001",
  "policy_name": "Variance of invoices",
  "scope": "compliance",
  "spec": {"applies_to_tags": ["finance"], "max_tolerance": 0.05},
  "owner_role_id": "FA-M-001",
  "precedence": "domain"
}
','e5c01e4fb38ecbf47bfc559b2978dec86a98d58d944cc933752d0bcedf3b0bd0','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-PUBLISH-001','1','{
  "policy_id": "POL-PUBLISH-001",
  "policy_name": "Publication of learned changes",
  "scope": "publishing",
  "spec": {
    "require_tests": true,
    "min_confidence": 0.85,
    "risk_threshold": 0.4,
    "mandatory_reviewers": ["QA-M-001", "SEC-M-001"],
    "blocked_categories": ["payments.write"],
    "audit_trail": true
  },
  "owner_role_id": "SEC-M-001",
  "precedence": "corporate"
}
','1db54a6afac379dd15dacec944b706739453b01816f3fd0401d1123af2cd73b3','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-STATUTE-001','1','{
  "policy_id": "POL-STATUTE-001",
  "policy_name": "Books are kept",
  "scope": "compliance",
  "spec": {"applies_to_tags": ["sox"], "require_audit_trail": true},
  "owner_role_id": "LGL-M-001",
  "precedence": "statutory"
}
','1554e7e9b5c7ee224bb6693d7b9c3fb65ae286f71dac1c50b373a5058b92e475','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('policy','POL-WF-FIN-001','1','{
  "policy_id": "POL-WF-FIN-001",
  "policy_name": "Invoices of one workflow",
  "scope": "compliance",
  "spec": {"workflow_id": "WF-FIN-001", "handoff_owner": "FA-M-001"},
  "owner_role_id": "FA-M-001",
  "precedence": "workflow-local"
}
','8beda3b19b383c5a8dc4329cca9da75cd03e31661e257a20529e8499efb513b4','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','ap.invoice.received','1','{
  "subject": "ap.invoice.received",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "ap.invoice.received",
    "description": "An invoice reached the accounts payable inbox.",
    "type": "object",
    "properties": {
      "invoice_uri": {"type": "string", "minLength": 1, "maxLength": 2048},
      "vendor_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "po_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "received_at": {"type": "string", "format": "date-time"},
      "sender": {"type": "string", "maxLength": 512, "x-pii": true}
    },
    "required": ["invoice_uri", "vendor_id", "po_id", "received_at"],
    "additionalProperties": false
  }
}
','de31486705b798df3f9d350699a12b92ddbf0a9988593b4011f83957dbaf25f2','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','handoff.decided','1','{
  "subject": "handoff.decided",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "handoff.decided",
    "description": "A person decided what was handed to them; subject_id is the event whose episode waits.",
    "type": "object",
    "properties": {
      "subject_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "decision": {"type": "string", "enum": ["approved", "rejected"]},
      "decided_by": {"type": "string", "minLength": 1, "maxLength": 64},
      "reason": {"type": "string", "maxLength": 1024}
    },
    "required": ["subject_id", "decision", "decided_by"],
    "additionalProperties": false
  }
}
','44a72ac1cbfe4981da79faa2238a019aee7dd538687ee966707a2c0b68f377af','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','hr.offer.signed','1','{
  "subject": "hr.offer.signed",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "hr.offer.signed",
    "description": "A candidate signed an offer.",
    "type": "object",
    "properties": {
      "candidate_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "role_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "start_date": {"type": "string", "format": "date"}
    },
    "required": ["candidate_id", "role_id", "start_date"],
    "additionalProperties": false
  }
}
','72782cd2913ce5753e7cfda12cf97b43a02fbba86ca3d97a33f0d888530c2b95','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','it.provision.complete','1','{
  "subject": "it.provision.complete",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "it.provision.complete",
    "description": "A user''s accounts are ready.",
    "type": "object",
    "properties": {
      "user_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "accounts": {"type": "array", "items": {"type": "string", "minLength": 1}},
      "dt": {"type": "string", "format": "date-time"}
    },
    "required": ["user_id", "accounts", "dt"],
    "additionalProperties": false
  }
}
','6c09f99fc65511635d6221da0abcc81174f920759f1d1fcd1ebce1fad5b09147','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','policy.updated','1','{
  "subject": "policy.updated",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "policy.updated",
    "description": "A policy holds other rules from now on.",
    "type": "object",
    "properties": {
      "policy_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "spec": {"type": "object"}
    },
    "required": ["policy_id", "spec"],
    "additionalProperties": false
  }
}
','85ce8d441ee6ccf3f96cd5b8ad6fe90a777059786305a623bbe1541ca933bbe7','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('schema_registry','reflection.proposed','1','{
  "subject": "reflection.proposed",
  "version": 1,
  "semver": "1.0.0",
  "format": "json",
  "compatibility": "backward",
  "schema": {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "reflection.proposed",
    "description": "A change was proposed and waits in the publication queue.",
    "type": "object",
    "properties": {
      "source_id": {"type": "string", "minLength": 1, "maxLength": 64},
      "proposal_type": {
        "type": "string",
        "enum": [
          "workflow",
          "step",
          "skill",
          "policy",
          "schema",
          "retirement"
        ]
      },
      "body": {"type": "object"}
    },
    "required": ["source_id", "proposal_type", "body"],
    "additionalProperties": false
  }
}
','8f71f42a02b845db7f5759ebd2f61f26f1bc18c18159d55b560ba20d816a4a76','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('workflow','WF-FIN-001','1.3.0','{
  "workflow_id": "WF-FIN-001",
  "workflow_name": "Automated Invoice Processing",
  "objective": "Record invoices to GL with compliant PO matching and notifications",
  "constraints": {"latency_ms": 600000, "max_error_rate": 0.005, "policy_tags": ["sox", "pii_redaction"]},
  "responsible_role_id": "FA-IC-001",
  "genome": {
    "goals": ["capture_invoice", "validate_po", "book_entry", "notify_vendor"],
    "resources": ["sap", "ap_inbox", "vendor_master"],
    "predicates": ["amount_within_tolerance", "vendor_active"]
  },
  "status": "active",
  "version": "1.3.0",
  "lineage": {"derived_from": [], "proposal_reason": "initial_enterprise_pack"},
  "steps": [
    {
      "step_id": "F-01",
      "sequence": 1,
      "action_type": "data_extraction",
      "skill_id": "SK-OCR-001",
      "parameters": {
        "file_uri": "${trigger.invoice_uri}",
        "entities": ["vendor_id", "amount", "po_id"]
      },
      "next_step_logic": {"goto": "F-02", "on_error": "F-03"}
    },
    {
      "step_id": "F-02",
      "sequence": 2,
      "action_type": "logic_check",
      "skill_id": "SK-LOGIC-003",
      "parameters": {"check": "po_match", "tolerance": 0.05},
      "next_step_logic": {
        "if": [
          {"expr": "pass==true", "goto": "F-04"},
          {"expr": "pass==false", "goto": "F-03"}
        ],
        "on_error": "F-03"
      },
      "timeout_ms": 20000,
      "retries": 1,
      "idempotency_key": "wf_fin_001_f02_v1"
    },
    {
      "step_id": "F-03",
      "sequence": 3,
      "action_type": "handoff",
      "skill_id": "SK-COMM-004",
      "parameters": {"reason": "PO_MISMATCH", "owner": "FA-M-001"},
      "next_step_logic": {
        "await": {
          "event": "handoff.decided",
          "correlate": {"subject_id": "${episode.trigger_event_id}"},
          "timeout_h": 72,
          "on_timeout": "END"
        },
        "if": [
          {"expr": "event.decision==\"approved\"", "goto": "F-04"},
          {"expr": "event.decision==\"rejected\"", "goto": "END"}
        ]
      }
    },
    {
      "step_id": "F-04",
      "sequence": 4,
      "action_type": "tool_call",
      "skill_id": "SK-ERP-002",
      "parameters": {"system": "SAP", "action": "Book_Invoice"},
      "next_step_logic": {"goto": "F-05"},
      "idempotency_key": "wf_fin_001_f04_v1"
    },
    {
      "step_id": "F-05",
      "sequence": 5,
      "action_type": "notify",
      "skill_id": "SK-COMM-005",
      "parameters": {"channel": "email", "recipient": "vendor", "template": "invoice_booked"},
      "next_step_logic": {"goto": "END"}
    }
  ],
  "triggers": [
    {
      "trigger_id": "TR-FIN-001",
      "trigger_type": "event",
      "selector": {"topic": "ap.invoice.received"}
    }
  ]
}
','69c1a362849626c3b5af470ba31338ba3b029c0df00857f5bdfc58f5e71aa0a1','bootstrap','f07bd55b2f5a190826326dda9b533b69959afb78fe922ddbdb2ac8714d42773f','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "object_version" VALUES('workflow','WF-LOG-receipt','0.1.0','{"lineage":{"derived_from":[],"proposal_reason":"import"},"objective":"Imported history of receipt","responsible_role_id":"DA-M-001","status":"draft","steps":[{"action_type":"record","next_step_logic":{"goto":"END"},"parameters":{"activity":"Confirmation of receipt"},"sequence":1,"skill_id":"SK-EXT-000","step_id":"WF-LOG-receipt/1"},{"action_type":"record","next_step_logic":{"goto":"END"},"parameters":{"activity":"T02 Check confirmation"},"sequence":2,"skill_id":"SK-EXT-000","step_id":"WF-LOG-receipt/2"}],"version":"0.1.0","workflow_id":"WF-LOG-receipt","workflow_name":"receipt"}','03b0993e1e185bbd4f314919f35e1c351af7079eddd2f559c82a66a0ea7bf6cb','import','0000000000000000000000000000000000000000000000000000000000000000','2026-10-01 08:00:00.000000','AG-EXTERNAL');
INSERT INTO "object_version" VALUES('workflow','WF-LOG-receipt','0.2.0','{"lineage":{"derived_from":[],"proposal_reason":"import"},"objective":"Imported history of receipt","responsible_role_id":"DA-M-001","status":"draft","steps":[{"action_type":"record","next_step_logic":{"goto":"END"},"parameters":{"activity":"Confirmation of receipt"},"sequence":1,"skill_id":"SK-EXT-000","step_id":"WF-LOG-receipt/1"},{"action_type":"record","next_step_logic":{"goto":"END"},"parameters":{"activity":"T02 Check confirmation"},"sequence":2,"skill_id":"SK-EXT-000","step_id":"WF-LOG-receipt/2"},{"action_type":"record","next_step_logic":{"goto":"END"},"parameters":{"activity":"T06 Determine necessity"},"sequence":3,"skill_id":"SK-EXT-000","step_id":"WF-LOG-receipt/3"}],"version":"0.2.0","workflow_id":"WF-LOG-receipt","workflow_name":"receipt"}','3d04c010879a462dc4467fa5826de1064b55708670da7c9d48dfcb3256c5e85d','import','1111111111111111111111111111111111111111111111111111111111111111','2026-10-02 08:00:00.000000','AG-EXTERNAL');
CREATE TABLE ontology_node (
	node_id VARCHAR(64) NOT NULL, 
	node_type VARCHAR(24) NOT NULL, 
	label VARCHAR(128) NOT NULL, 
	attributes TEXT NOT NULL, 
	parent_id VARCHAR(64), 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (node_id), 
	CONSTRAINT ck_ontology_node_node_id_length CHECK (length(node_id) <= 64), 
	CONSTRAINT ck_ontology_node_node_type_enum CHECK (node_type IN ('entity', 'event', 'metric', 'policy_tag')), 
	CONSTRAINT ck_ontology_node_label_length CHECK (length(label) <= 128), 
	CONSTRAINT ck_ontology_node_parent_id_length CHECK (length(parent_id) <= 64), 
	CONSTRAINT ck_ontology_node_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_ontology_node_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(parent_id) REFERENCES ontology_node (node_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "ontology_node" VALUES('ONT-ENTITY','entity','Business entity','{}',NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-ENTITY-INVOICE','entity','Invoice','{"domain":"finance"}','ONT-ENTITY','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-ENTITY-PO','entity','Purchase order','{"domain":"finance"}','ONT-ENTITY','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-ENTITY-VENDOR','entity','Vendor','{"domain":"finance"}','ONT-ENTITY','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-ENTITY-EMPLOYEE','entity','Employee','{"domain":"hr"}','ONT-ENTITY','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-ENTITY-ACCOUNT','entity','User account','{"domain":"it"}','ONT-ENTITY','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT','event','Business event','{}',NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-AP-INVOICE-RECEIVED','event','ap.invoice.received','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-HR-OFFER-SIGNED','event','hr.offer.signed','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-IT-PROVISION-COMPLETE','event','it.provision.complete','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-REFLECTION-PROPOSED','event','reflection.proposed','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-POLICY-UPDATED','event','policy.updated','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-EVENT-HANDOFF-DECIDED','event','handoff.decided','{}','ONT-EVENT','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-METRIC','metric','Metric','{}',NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-METRIC-LATENCY','metric','Latency','{"unit":"ms"}','ONT-METRIC','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-METRIC-ERROR-RATE','metric','Error rate','{"unit":"ratio"}','ONT-METRIC','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-METRIC-COST','metric','Cost','{"unit":"micros"}','ONT-METRIC','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-TAG','policy_tag','Policy tag','{}',NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-TAG-SOX','policy_tag','sox','{"domain":"finance"}','ONT-TAG','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-TAG-PII','policy_tag','pii','{"domain":"security"}','ONT-TAG','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "ontology_node" VALUES('ONT-TAG-PII-REDACTION','policy_tag','pii_redaction','{"domain":"security"}','ONT-TAG-PII','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE open_episode (
	episode_id VARCHAR(64) NOT NULL, 
	workflow_id VARCHAR(64) NOT NULL, 
	workflow_version VARCHAR(24) NOT NULL, 
	trigger_event_id VARCHAR(64) NOT NULL, 
	episode_month DATE NOT NULL, 
	step_id VARCHAR(64) NOT NULL, 
	await_topic VARCHAR(128) NOT NULL, 
	await_key VARCHAR(512) NOT NULL, 
	waiting_since DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	state TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (episode_id), 
	CONSTRAINT ck_open_episode_episode_id_length CHECK (length(episode_id) <= 64), 
	CONSTRAINT ck_open_episode_workflow_id_length CHECK (length(workflow_id) <= 64), 
	CONSTRAINT ck_open_episode_workflow_version_length CHECK (length(workflow_version) <= 24), 
	CONSTRAINT ck_open_episode_trigger_event_id_length CHECK (length(trigger_event_id) <= 64), 
	CONSTRAINT ck_open_episode_step_id_length CHECK (length(step_id) <= 64), 
	CONSTRAINT ck_open_episode_await_topic_length CHECK (length(await_topic) <= 128), 
	CONSTRAINT ck_open_episode_await_key_length CHECK (length(await_key) <= 512), 
	CONSTRAINT ck_open_episode_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_open_episode_updated_by_length CHECK (length(updated_by) <= 64)
);
CREATE TABLE policy (
	policy_id VARCHAR(64) NOT NULL, 
	policy_name VARCHAR(128) NOT NULL, 
	scope VARCHAR(24) NOT NULL, 
	spec TEXT NOT NULL, 
	owner_role_id VARCHAR(64) NOT NULL, 
	precedence VARCHAR(24) DEFAULT 'corporate' NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (policy_id), 
	CONSTRAINT ck_policy_policy_id_length CHECK (length(policy_id) <= 64), 
	CONSTRAINT ck_policy_policy_name_length CHECK (length(policy_name) <= 128), 
	CONSTRAINT ck_policy_scope_enum CHECK (scope IN ('data', 'security', 'compliance', 'mlops', 'publishing')), 
	CONSTRAINT ck_policy_owner_role_id_length CHECK (length(owner_role_id) <= 64), 
	CONSTRAINT ck_policy_precedence_enum CHECK (precedence IN ('statutory', 'contractual', 'corporate', 'domain', 'workflow-local')), 
	CONSTRAINT ck_policy_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_policy_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(owner_role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "policy" VALUES('POL-CONTRACT-001','Vendors are told','compliance','{"applies_to_tags":["vendor"],"require_notification":true}','PROC-M-001','contractual','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "policy" VALUES('POL-DATA-001','Retention of data','data','{"retention_days":{"events":400,"pii":180,"telemetry":365}}','SEC-M-001','corporate','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "policy" VALUES('POL-FINANCE-001','Variance of invoices','compliance','{"applies_to_tags":["finance"],"max_tolerance":0.05}','FA-M-001','domain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "policy" VALUES('POL-PUBLISH-001','Publication of learned changes','publishing','{"audit_trail":true,"blocked_categories":["payments.write"],"mandatory_reviewers":["QA-M-001","SEC-M-001"],"min_confidence":0.85,"require_tests":true,"risk_threshold":0.4}','SEC-M-001','corporate','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "policy" VALUES('POL-STATUTE-001','Books are kept','compliance','{"applies_to_tags":["sox"],"require_audit_trail":true}','LGL-M-001','statutory','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "policy" VALUES('POL-WF-FIN-001','Invoices of one workflow','compliance','{"handoff_owner":"FA-M-001","workflow_id":"WF-FIN-001"}','FA-M-001','workflow-local','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE publication_queue (
	publication_id VARCHAR(64) NOT NULL, 
	proposal_type VARCHAR(24) NOT NULL, 
	proposal_body TEXT NOT NULL, 
	proposal_hash VARCHAR(64) NOT NULL, 
	provenance TEXT NOT NULL, 
	confidence NUMERIC(7, 4) NOT NULL, 
	risk_score NUMERIC(7, 4) DEFAULT 1 NOT NULL, 
	risk_band VARCHAR(8), 
	policy_checks TEXT NOT NULL, 
	decision VARCHAR(16) DEFAULT 'pending' NOT NULL, 
	proposed_by VARCHAR(64) NOT NULL, 
	decided_by VARCHAR(64), 
	decided_at DATETIME, 
	published_object_id VARCHAR(64), 
	expires_at DATETIME NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (publication_id), 
	CONSTRAINT ux_publication_queue_proposal_hash UNIQUE (proposal_hash), 
	CONSTRAINT ck_publication_queue_publication_id_length CHECK (length(publication_id) <= 64), 
	CONSTRAINT ck_publication_queue_proposal_type_enum CHECK (proposal_type IN ('workflow', 'step', 'skill', 'policy', 'schema', 'retirement')), 
	CONSTRAINT ck_publication_queue_proposal_hash_length CHECK (length(proposal_hash) <= 64), 
	CONSTRAINT ck_publication_queue_risk_band_length CHECK (length(risk_band) <= 8), 
	CONSTRAINT ck_publication_queue_decision_enum CHECK (decision IN ('pending', 'approved', 'rejected', 'merged', 'expired', 'canary', 'published', 'rolled_back')), 
	CONSTRAINT ck_publication_queue_proposed_by_length CHECK (length(proposed_by) <= 64), 
	CONSTRAINT ck_publication_queue_decided_by_length CHECK (length(decided_by) <= 64), 
	CONSTRAINT ck_publication_queue_published_object_id_length CHECK (length(published_object_id) <= 64), 
	CONSTRAINT ck_publication_queue_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_publication_queue_updated_by_length CHECK (length(updated_by) <= 64)
);
INSERT INTO "publication_queue" VALUES('abd9e891-a6e3-584c-8bd1-426983767608','step','{"step":"F-02","tolerance":0.04}','76ce961281ef11cbbc115b49e16c657a2446fac5d1989300f69796e78ed64ea3','{"episodes":["E-1"]}',0.91,1,NULL,'[]','pending','AG-1',NULL,NULL,NULL,'2026-10-22 08:00:00.000000','2026-10-01 08:00:00.000000','AG-1','2026-10-01 08:00:00.000000','AG-1');
CREATE TABLE role (
	role_id VARCHAR(64) NOT NULL, 
	role_title VARCHAR(128) NOT NULL, 
	department VARCHAR(64) NOT NULL, 
	hierarchy_level VARCHAR(8) NOT NULL, 
	supervises_role_id VARCHAR(64), 
	role_type VARCHAR(16) DEFAULT 'human' NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (role_id), 
	CONSTRAINT ck_role_role_id_length CHECK (length(role_id) <= 64), 
	CONSTRAINT ck_role_role_title_length CHECK (length(role_title) <= 128), 
	CONSTRAINT ck_role_department_length CHECK (length(department) <= 64), 
	CONSTRAINT ck_role_hierarchy_level_enum CHECK (hierarchy_level IN ('I', 'II', 'III', 'IV', 'V')), 
	CONSTRAINT ck_role_supervises_role_id_length CHECK (length(supervises_role_id) <= 64), 
	CONSTRAINT ck_role_role_type_enum CHECK (role_type IN ('human', 'agent', 'hybrid')), 
	CONSTRAINT ck_role_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_role_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(supervises_role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "role" VALUES('FA-D-001','Finance Director','Finance','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('HR-D-001','HR Director','HR','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('IT-D-001','IT Director','IT','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SAL-D-001','Sales Director','Sales','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('MKT-D-001','Marketing Director','Marketing','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('LGL-D-001','General Counsel','Legal','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SEC-D-001','Security & Compliance Director','Compliance','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('QA-D-001','Quality Assurance Director','Quality','II',NULL,'human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('FA-M-001','Finance Manager','Finance','III','FA-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('HR-M-001','Talent Acquisition Manager','HR','III','HR-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('IT-M-001','IT Operations Manager','IT','III','IT-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SAL-M-001','Sales Manager','Sales','III','SAL-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('MKT-M-001','Marketing Manager','Marketing','III','MKT-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('LGL-M-001','Corporate Counsel','Legal','III','LGL-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SEC-M-001','Security & Compliance Manager','Compliance','III','SEC-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('QA-M-001','Quality Assurance Manager','Quality','III','QA-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('PROC-M-001','Procurement Manager','Procurement','III','FA-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SC-M-001','Supply Chain Manager','Supply Chain','III','FA-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('CS-M-001','Customer Service Manager','Customer Service','III','SAL-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('DA-M-001','Data & Analytics Manager','Data','III','IT-D-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('FA-IC-001','Accounts Payable Specialist','Finance','V','FA-M-001','hybrid','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('HR-IC-001','HR Coordinator','HR','V','HR-M-001','hybrid','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('IT-IC-001','IT Support Technician','IT','V','IT-M-001','hybrid','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role" VALUES('SAL-IC-001','Sales Representative','Sales','V','SAL-M-001','human','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE role_skill_map (
	role_id VARCHAR(64) NOT NULL, 
	skill_id VARCHAR(64) NOT NULL, 
	permission VARCHAR(16) DEFAULT 'use' NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (role_id, skill_id), 
	CONSTRAINT ck_role_skill_map_role_id_length CHECK (length(role_id) <= 64), 
	CONSTRAINT ck_role_skill_map_skill_id_length CHECK (length(skill_id) <= 64), 
	CONSTRAINT ck_role_skill_map_permission_enum CHECK (permission IN ('use', 'maintain', 'publish')), 
	CONSTRAINT ck_role_skill_map_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_role_skill_map_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(skill_id) REFERENCES skill_node (skill_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-ETL-011','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-EXT-000','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-GEN-009','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-GEN-010','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-ML-012','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-NLP-013','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('DA-M-001','SK-VIZ-014','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-IC-001','SK-COMM-004','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-IC-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-IC-001','SK-ERP-002','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-IC-001','SK-LOGIC-003','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-IC-001','SK-OCR-001','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-COMM-004','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-ERP-002','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-LOGIC-003','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-OCR-001','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('FA-M-001','SK-VIZ-014','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('HR-IC-001','SK-API-007','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('HR-IC-001','SK-COMM-004','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('HR-IC-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('HR-IC-001','SK-HCM-006','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('HR-M-001','SK-HCM-006','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-IC-001','SK-COMM-004','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-IC-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-IC-001','SK-IT-008','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-M-001','SK-API-007','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-M-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-M-001','SK-IT-008','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-M-001','SK-NLP-013','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('IT-M-001','SK-OCR-001','maintain','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('QA-M-001','SK-COMM-004','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('QA-M-001','SK-VIZ-014','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('SAL-IC-001','SK-COMM-005','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('SEC-M-001','SK-LOGIC-003','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "role_skill_map" VALUES('SEC-M-001','SK-NLP-013','use','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE schema_registry (
	subject VARCHAR(128) NOT NULL, 
	version INTEGER NOT NULL, 
	semver VARCHAR(24) NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	schema TEXT NOT NULL, 
	compatibility VARCHAR(16) DEFAULT 'backward' NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (subject, version), 
	CONSTRAINT ck_schema_registry_subject_length CHECK (length(subject) <= 128), 
	CONSTRAINT ck_schema_registry_semver_length CHECK (length(semver) <= 24), 
	CONSTRAINT ck_schema_registry_format_enum CHECK (format IN ('json', 'avro')), 
	CONSTRAINT ck_schema_registry_compatibility_enum CHECK (compatibility IN ('none', 'backward', 'forward', 'full')), 
	CONSTRAINT ck_schema_registry_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_schema_registry_updated_by_length CHECK (length(updated_by) <= 64)
);
INSERT INTO "schema_registry" VALUES('ap.invoice.received',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"An invoice reached the accounts payable inbox.","properties":{"invoice_uri":{"maxLength":2048,"minLength":1,"type":"string"},"po_id":{"maxLength":64,"minLength":1,"type":"string"},"received_at":{"format":"date-time","type":"string"},"sender":{"maxLength":512,"type":"string","x-pii":true},"vendor_id":{"maxLength":64,"minLength":1,"type":"string"}},"required":["invoice_uri","vendor_id","po_id","received_at"],"title":"ap.invoice.received","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "schema_registry" VALUES('handoff.decided',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"A person decided what was handed to them; subject_id is the event whose episode waits.","properties":{"decided_by":{"maxLength":64,"minLength":1,"type":"string"},"decision":{"enum":["approved","rejected"],"type":"string"},"reason":{"maxLength":1024,"type":"string"},"subject_id":{"maxLength":64,"minLength":1,"type":"string"}},"required":["subject_id","decision","decided_by"],"title":"handoff.decided","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "schema_registry" VALUES('hr.offer.signed',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"A candidate signed an offer.","properties":{"candidate_id":{"maxLength":64,"minLength":1,"type":"string"},"role_id":{"maxLength":64,"minLength":1,"type":"string"},"start_date":{"format":"date","type":"string"}},"required":["candidate_id","role_id","start_date"],"title":"hr.offer.signed","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "schema_registry" VALUES('it.provision.complete',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"A user''s accounts are ready.","properties":{"accounts":{"items":{"minLength":1,"type":"string"},"type":"array"},"dt":{"format":"date-time","type":"string"},"user_id":{"maxLength":64,"minLength":1,"type":"string"}},"required":["user_id","accounts","dt"],"title":"it.provision.complete","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "schema_registry" VALUES('policy.updated',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"A policy holds other rules from now on.","properties":{"policy_id":{"maxLength":64,"minLength":1,"type":"string"},"spec":{"type":"object"}},"required":["policy_id","spec"],"title":"policy.updated","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "schema_registry" VALUES('reflection.proposed',1,'1.0.0','json','{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"description":"A change was proposed and waits in the publication queue.","properties":{"body":{"type":"object"},"proposal_type":{"enum":["workflow","step","skill","policy","schema","retirement"],"type":"string"},"source_id":{"maxLength":64,"minLength":1,"type":"string"}},"required":["source_id","proposal_type","body"],"title":"reflection.proposed","type":"object"}','backward','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE skill_node (
	skill_id VARCHAR(64) NOT NULL, 
	skill_name VARCHAR(128) NOT NULL, 
	category VARCHAR(64) NOT NULL, 
	signature TEXT NOT NULL, 
	description TEXT NOT NULL, 
	runtime_binding TEXT NOT NULL, 
	version VARCHAR(24) NOT NULL, 
	stability_tier VARCHAR(16) DEFAULT 'exp' NOT NULL, 
	owner_role_id VARCHAR(64) NOT NULL, 
	is_generator BOOLEAN DEFAULT 0 NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (skill_id), 
	CONSTRAINT ux_skill_node_skill_name_version UNIQUE (skill_name, version), 
	CONSTRAINT ck_skill_node_skill_id_length CHECK (length(skill_id) <= 64), 
	CONSTRAINT ck_skill_node_skill_name_length CHECK (length(skill_name) <= 128), 
	CONSTRAINT ck_skill_node_category_enum CHECK (category IN ('ingestion', 'tool', 'logic', 'comm', 'hcm', 'api', 'iam', 'ml', 'nlp', 'viz', 'etl', 'generator')), 
	CONSTRAINT ck_skill_node_version_length CHECK (length(version) <= 24), 
	CONSTRAINT ck_skill_node_stability_tier_enum CHECK (stability_tier IN ('exp', 'beta', 'ga', 'restricted')), 
	CONSTRAINT ck_skill_node_owner_role_id_length CHECK (length(owner_role_id) <= 64), 
	CONSTRAINT ck_skill_node_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_skill_node_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(owner_role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "skill_node" VALUES('SK-API-007','Inter_Agent_API_Caller','api','{"args":[{"name":"target_workflow_id","required":true,"type":"string"},{"default":{},"name":"payload","type":"object"}],"errors":["CONNECTIVITY","TIMEOUT","UNKNOWN_WORKFLOW","CHILD_FAILED"],"name":"call","returns":{"properties":{"episode_id":"string","outcome":"string","output":"object"},"type":"object"}}','Starts another workflow and hands back its result.','{"adapter":"simulated","effects":{"call":"workflow.start"},"retries":1,"simulation":{"cost_micros":0,"latency_ms":{"median":15,"sigma":0.3}},"system":"orchestrator","timeouts_ms":300000}','1.0.0','ga','IT-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-COMM-004','Human_Handoff_Protocol','comm','{"args":[{"aliases":["reason"],"name":"reason_code","required":true,"type":"string"},{"aliases":["owner"],"name":"owner_id","references":"role","required":true,"type":"string"},{"default":"${episode.outputs}","name":"context","type":"object"}],"errors":["CONNECTIVITY","UNKNOWN_OWNER"],"name":"handoff","returns":{"properties":{"handoff_id":"string","owner_id":"string"},"type":"object"}}','Escalates to a person with all state carried over.','{"adapter":"simulated","effects":{"handoff":"task.create"},"retries":3,"simulation":{"cost_micros":0,"latency_ms":{"median":60,"sigma":0.3}},"system":"task_inbox","timeouts_ms":30000}','1.0.0','ga','QA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-COMM-005','Standard_Notification','comm','{"args":[{"name":"channel","required":true,"type":"string"},{"aliases":["recipients"],"name":"recipient","required":true,"type":"any"},{"aliases":["template"],"default":"default","name":"template_id","type":"string"},{"default":"${episode.outputs}","name":"data","type":"object"}],"errors":["CONNECTIVITY","BOUNCED","UNKNOWN_TEMPLATE"],"name":"send","returns":{"properties":{"delivered":"boolean","message_id":"string"},"type":"object"}}','Sends email, Slack and SMS messages.','{"adapter":"simulated","effects":{"send":"message.send"},"retries":3,"simulation":{"cost_micros":100,"latency_ms":{"median":120,"sigma":0.5}},"system":"messaging","timeouts_ms":15000}','1.0.0','ga','IT-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-ERP-002','System_Record_Writeback','tool','{"args":[{"name":"system","required":true,"type":"string"},{"name":"action","required":true,"type":"string"},{"default":"${episode.outputs}","name":"data_payload","type":"object"}],"errors":["CONNECTIVITY","TIMEOUT","SCHEMA_MISMATCH","DUPLICATE","REJECTED"],"name":"write","returns":{"properties":{"record_id":"string","status":"string"},"type":"object"}}','Writes transactions to ERP, ledger, CRM and governance systems.','{"adapter":"simulated","effects":{"Book_Invoice":"ledger.write","Issue_PO":"procurement.write","Pay_Invoice":"payments.write","Record_Order":"sales.write","record_assignment":"governance.write"},"retries":3,"simulation":{"cost_micros":200,"fault_rate":0.08,"latency_ms":{"median":350,"sigma":0.4}},"system":"erp","timeouts_ms":30000}','1.0.0','ga','FA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-ETL-011','Tabular_ETL','etl','{"args":[{"name":"sql_or_dag","required":true,"type":"any"},{"name":"inputs","required":true,"type":"array<string>"},{"name":"outputs","required":true,"type":"array<string>"}],"errors":["CONNECTIVITY","SCHEMA_MISMATCH","QUERY_FAILED"],"name":"transform","returns":{"properties":{"rows":"integer"},"type":"object"}}','Transforms tables.','{"adapter":"simulated","effects":{"transform":"data.write"},"retries":1,"simulation":{"cost_micros":400,"latency_ms":{"median":1800,"sigma":0.6}},"system":"lake","timeouts_ms":600000}','1.0.0','ga','DA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-EXT-000','External_Activity','etl','{"args":[{"name":"activity","required":true,"type":"string"}],"errors":[],"name":"record","returns":{"properties":{},"type":"object"}}','Stands for what an imported log says was done outside; it cannot be executed.','{"adapter":"none","system":"external"}','1.0.0','restricted','DA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-GEN-009','Workflow_Synthesizer','generator','{"args":[{"name":"genome","required":true,"type":"object"},{"name":"episodes","required":true,"type":"array<string>"},{"default":{},"name":"constraints","type":"object"}],"errors":["NO_PATTERN","INSUFFICIENT_EVIDENCE"],"name":"synthesize","returns":{"properties":{"proposals":"array<object>"},"type":"object"}}','Proposes new workflows from episodes.','{"adapter":"simulated","effects":{"synthesize":"proposal.create"},"retries":0,"system":"synthesis","timeouts_ms":600000}','1.0.0','ga','DA-M-001',1,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-GEN-010','Skill_Induction','generator','{"args":[{"name":"capability_gap","required":true,"type":"object"},{"name":"traces","required":true,"type":"array<object>"},{"default":[],"name":"io_pairs","type":"array<object>"}],"errors":["NO_PATTERN","INSUFFICIENT_EVIDENCE"],"name":"induce","returns":{"properties":{"proposals":"array<object>"},"type":"object"}}','Proposes new skill nodes that close a capability gap.','{"adapter":"simulated","effects":{"induce":"proposal.create"},"retries":0,"system":"synthesis","timeouts_ms":600000}','1.0.0','ga','DA-M-001',1,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-HCM-006','HCM_System_Interface','tool','{"args":[{"name":"system","required":true,"type":"string"},{"name":"object_id","required":true,"type":"string"}],"errors":["CONNECTIVITY","TIMEOUT","NOT_FOUND"],"name":"query","returns":{"properties":{"record":"object"},"type":"object"}}','Reads records of Workday and SuccessFactors.','{"adapter":"simulated","effects":{},"retries":2,"simulation":{"cost_micros":100,"latency_ms":{"median":280,"sigma":0.4}},"system":"hcm","timeouts_ms":20000}','1.0.0','ga','HR-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-IT-008','Identity_Access_Manager','tool','{"args":[{"name":"system","required":true,"type":"string"},{"name":"user_id","required":true,"type":"string"},{"name":"access_group","required":true,"type":"string"}],"errors":["CONNECTIVITY","TIMEOUT","DENIED","DUPLICATE"],"name":"provision","returns":{"properties":{"account_id":"string","status":"string"},"type":"object"}}','Grants and revokes access in AD, Okta and Exchange.','{"adapter":"simulated","effects":{"provision":"identity.write"},"retries":2,"simulation":{"cost_micros":100,"latency_ms":{"median":600,"sigma":0.5}},"system":"iam","timeouts_ms":60000}','1.0.0','ga','IT-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-LOGIC-003','Compliance_Variance_Check','logic','{"args":[{"name":"lhs","type":"any"},{"name":"rhs","type":"any"},{"name":"policy","type":"string"},{"default":0,"name":"tolerance","type":"number"},{"name":"check","type":"string"},{"default":"${episode.outputs}","name":"inputs","type":"any"},{"name":"window_h","type":"number"}],"errors":["MISSING_INPUT","UNKNOWN_CHECK","UNKNOWN_POLICY"],"name":"check","returns":{"properties":{"pass":"boolean","reason":"string","variance":"number"},"type":"object"}}','Compares two sides within a tolerance, or evaluates a named check or policy; po_match binds both sides itself.','{"adapter":"simulated","effects":{},"retries":1,"simulation":{"cost_micros":0,"latency_ms":{"median":4,"sigma":0.3}},"system":"rules","timeouts_ms":20000}','1.0.0','ga','SEC-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-ML-012','Model_Retrainer','ml','{"args":[{"name":"dataset_id","required":true,"type":"string"},{"name":"objective","required":true,"type":"string"},{"default":{},"name":"hyperparams","type":"object"}],"errors":["INSUFFICIENT_DATA","DIVERGED","TIMEOUT"],"name":"retrain","returns":{"properties":{"metrics":"object","model_id":"string"},"type":"object"}}','Retrains a model on newer data.','{"adapter":"simulated","effects":{"retrain":"model.write"},"retries":0,"simulation":{"cost_micros":250000,"latency_ms":{"median":90000,"sigma":0.5}},"system":"ml_platform","timeouts_ms":3600000}','1.0.0','ga','DA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-NLP-013','Redaction_Filter','logic','{"args":[{"name":"text","required":true,"type":"string"},{"default":[],"name":"policies","type":"array<string>"}],"errors":["UNKNOWN_POLICY"],"name":"redact","returns":{"properties":{"findings":"array<object>","text":"string"},"type":"object"}}','Replaces personal and financial data by tokens.','{"adapter":"simulated","effects":{},"retries":1,"simulation":{"cost_micros":0,"latency_ms":{"median":12,"sigma":0.3}},"system":"guard","timeouts_ms":20000}','1.0.0','ga','SEC-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-OCR-001','Document_Entity_Extractor','ingestion','{"args":[{"name":"file_uri","required":true,"type":"string"},{"name":"entities","required":true,"type":"array<string>"},{"aliases":["min_conf"],"default":0.85,"name":"min_confidence","type":"number"}],"errors":["CONNECTIVITY","SCHEMA_MISMATCH","LOW_CONFIDENCE"],"name":"extract","returns":{"properties":{"confidence":"number","entities":"map<string,any>"},"type":"object"}}','Reads named entities out of unstructured documents.','{"adapter":"simulated","effects":{},"retries":2,"simulation":{"cost_micros":1500,"latency_ms":{"median":900,"sigma":0.45},"model":"simulated-ocr-1","tokens":{"in":1200,"out":90}},"system":"document_store","timeouts_ms":30000}','2.1.0','ga','IT-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "skill_node" VALUES('SK-VIZ-014','Metrics_Dashboard','viz','{"args":[{"name":"view_id","required":true,"type":"string"},{"default":{},"name":"params","type":"object"}],"errors":["UNKNOWN_VIEW","QUERY_FAILED"],"name":"render","returns":{"properties":{"uri":"string"},"type":"object"}}','Renders a view over the marts.','{"adapter":"simulated","effects":{},"retries":1,"simulation":{"cost_micros":0,"latency_ms":{"median":250,"sigma":0.4}},"system":"dashboard","timeouts_ms":30000}','1.0.0','ga','DA-M-001',0,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE step_action (
	step_id VARCHAR(64) NOT NULL, 
	workflow_id VARCHAR(64) NOT NULL, 
	sequence INTEGER NOT NULL, 
	action_type VARCHAR(24) NOT NULL, 
	skill_id VARCHAR(64) NOT NULL, 
	parameters TEXT NOT NULL, 
	next_step_logic TEXT NOT NULL, 
	timeout_ms INTEGER DEFAULT 300000 NOT NULL, 
	retries INTEGER DEFAULT 2 NOT NULL, 
	idempotency_key VARCHAR(64), 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (step_id), 
	CONSTRAINT ck_step_action_step_id_length CHECK (length(step_id) <= 64), 
	CONSTRAINT ck_step_action_workflow_id_length CHECK (length(workflow_id) <= 64), 
	CONSTRAINT ck_step_action_action_type_enum CHECK (action_type IN ('data_extraction', 'logic_check', 'tool_call', 'branch', 'handoff', 'notify', 'generate', 'record')), 
	CONSTRAINT ck_step_action_skill_id_length CHECK (length(skill_id) <= 64), 
	CONSTRAINT ck_step_action_idempotency_key_length CHECK (length(idempotency_key) <= 64), 
	CONSTRAINT ck_step_action_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_step_action_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(workflow_id) REFERENCES workflow (workflow_id) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(skill_id) REFERENCES skill_node (skill_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "step_action" VALUES('F-01','WF-FIN-001',1,'data_extraction','SK-OCR-001','{"entities":["vendor_id","amount","po_id"],"file_uri":"${trigger.invoice_uri}"}','{"goto":"F-02","on_error":"F-03"}',300000,2,NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "step_action" VALUES('F-02','WF-FIN-001',2,'logic_check','SK-LOGIC-003','{"check":"po_match","tolerance":0.05}','{"if":[{"expr":"pass==true","goto":"F-04"},{"expr":"pass==false","goto":"F-03"}],"on_error":"F-03"}',20000,1,'wf_fin_001_f02_v1','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "step_action" VALUES('F-03','WF-FIN-001',3,'handoff','SK-COMM-004','{"owner":"FA-M-001","reason":"PO_MISMATCH"}','{"await":{"correlate":{"subject_id":"${episode.trigger_event_id}"},"event":"handoff.decided","on_timeout":"END","timeout_h":72},"if":[{"expr":"event.decision==\"approved\"","goto":"F-04"},{"expr":"event.decision==\"rejected\"","goto":"END"}]}',300000,2,NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "step_action" VALUES('F-04','WF-FIN-001',4,'tool_call','SK-ERP-002','{"action":"Book_Invoice","system":"SAP"}','{"goto":"F-05"}',300000,2,'wf_fin_001_f04_v1','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "step_action" VALUES('F-05','WF-FIN-001',5,'notify','SK-COMM-005','{"channel":"email","recipient":"vendor","template":"invoice_booked"}','{"goto":"END"}',300000,2,NULL,'2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "step_action" VALUES('WF-LOG-receipt/1','WF-LOG-receipt',1,'record','SK-EXT-000','{"activity":"Confirmation of receipt"}','{"goto":"END"}',300000,2,NULL,'2026-10-01 08:00:00.000000','AG-EXTERNAL','2026-10-01 08:00:00.000000','AG-EXTERNAL');
INSERT INTO "step_action" VALUES('WF-LOG-receipt/2','WF-LOG-receipt',2,'record','SK-EXT-000','{"activity":"T02 Check confirmation"}','{"goto":"END"}',300000,2,NULL,'2026-10-01 08:00:00.000000','AG-EXTERNAL','2026-10-01 08:00:00.000000','AG-EXTERNAL');
INSERT INTO "step_action" VALUES('WF-LOG-receipt/3','WF-LOG-receipt',3,'record','SK-EXT-000','{"activity":"T06 Determine necessity"}','{"goto":"END"}',300000,2,NULL,'2026-10-02 08:00:00.000000','AG-EXTERNAL','2026-10-02 08:00:00.000000','AG-EXTERNAL');
CREATE TABLE trigger_def (
	trigger_id VARCHAR(64) NOT NULL, 
	workflow_id VARCHAR(64) NOT NULL, 
	trigger_type VARCHAR(24) NOT NULL, 
	selector TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (trigger_id), 
	CONSTRAINT ck_trigger_def_trigger_id_length CHECK (length(trigger_id) <= 64), 
	CONSTRAINT ck_trigger_def_workflow_id_length CHECK (length(workflow_id) <= 64), 
	CONSTRAINT ck_trigger_def_trigger_type_enum CHECK (trigger_type IN ('event', 'schedule', 'condition', 'webhook')), 
	CONSTRAINT ck_trigger_def_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_trigger_def_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(workflow_id) REFERENCES workflow (workflow_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "trigger_def" VALUES('TR-FIN-001','WF-FIN-001','event','{"topic":"ap.invoice.received"}','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
CREATE TABLE workflow (
	workflow_id VARCHAR(64) NOT NULL, 
	workflow_name VARCHAR(128) NOT NULL, 
	objective TEXT NOT NULL, 
	constraints TEXT NOT NULL, 
	responsible_role_id VARCHAR(64) NOT NULL, 
	genome TEXT NOT NULL, 
	status VARCHAR(16) DEFAULT 'draft' NOT NULL, 
	version VARCHAR(24) NOT NULL, 
	lineage TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	PRIMARY KEY (workflow_id), 
	CONSTRAINT ux_workflow_workflow_name_version UNIQUE (workflow_name, version), 
	CONSTRAINT ck_workflow_workflow_id_length CHECK (length(workflow_id) <= 64), 
	CONSTRAINT ck_workflow_workflow_name_length CHECK (length(workflow_name) <= 128), 
	CONSTRAINT ck_workflow_responsible_role_id_length CHECK (length(responsible_role_id) <= 64), 
	CONSTRAINT ck_workflow_status_enum CHECK (status IN ('draft', 'active', 'paused', 'retired')), 
	CONSTRAINT ck_workflow_version_length CHECK (length(version) <= 24), 
	CONSTRAINT ck_workflow_created_by_length CHECK (length(created_by) <= 64), 
	CONSTRAINT ck_workflow_updated_by_length CHECK (length(updated_by) <= 64), 
	FOREIGN KEY(responsible_role_id) REFERENCES role (role_id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "workflow" VALUES('WF-FIN-001','Automated Invoice Processing','Record invoices to GL with compliant PO matching and notifications','{"latency_ms":600000,"max_error_rate":0.005,"policy_tags":["sox","pii_redaction"]}','FA-IC-001','{"goals":["capture_invoice","validate_po","book_entry","notify_vendor"],"predicates":["amount_within_tolerance","vendor_active"],"resources":["sap","ap_inbox","vendor_master"]}','active','1.3.0','{"derived_from":[],"proposal_reason":"initial_enterprise_pack"}','2026-10-01 08:00:00.000000','bootstrap','2026-10-01 08:00:00.000000','bootstrap');
INSERT INTO "workflow" VALUES('WF-LOG-receipt','receipt','Imported history of receipt','{}','DA-M-001','{}','draft','0.2.0','{"derived_from":[],"proposal_reason":"import"}','2026-10-01 08:00:00.000000','AG-EXTERNAL','2026-10-02 08:00:00.000000','AG-EXTERNAL');
CREATE INDEX ix_role_department ON role (department);
CREATE INDEX ix_batch_kind_state ON batch (kind, state);
CREATE INDEX ix_landing_file_file_id ON landing_file (file_id);
CREATE INDEX ix_open_episode_await_topic_await_key ON open_episode (await_topic, await_key);
CREATE INDEX ix_open_episode_due_at ON open_episode (due_at);
CREATE INDEX ix_step_action_workflow_id_sequence ON step_action (workflow_id, sequence);
COMMIT;
